"""What `status` prints, as models."""

from vipctl.cli.contract.objects import Director, Object, Pending, Role, Service, Size, field


class Totals(Object):
    """Counted by IPVS since it has the service, or the real server."""

    connections: int = field("All that there were.")
    packets_in: int = field("From clients.")
    packets_out: int = field("To clients, as far as they pass the director.")
    bytes_in: int = field("From clients.")
    bytes_out: int = field("To clients.")
    active: int = field("Connections now; 0 of a service.")
    inactive: int = field("Connections now that are being closed; 0 of a service.")


class Balanced(Totals):
    """One IP version of a service in IPVS."""

    reals: dict[str, Totals] = field("By real server.")


class Agent(Object):
    """What the agent of a real server has said."""

    percent: int = field("Of its weight.")
    admin: str = field("`ready`, `drain` or `maint`.")
    running: str = field("`up`, `down`, `fail` or `stopped`.")
    since: str | None = field("When, but for the percentage.")
    why: str = field("In its words.")
    doubt: str = field("Why it could not be heard or understood lately, or empty.")


class Feedback(Object):
    """What `--feedback` makes of a real server."""

    factor: float = field("So large a part of its weight is left.")
    fails_fast: bool = field("Whether it was caught failing fast.")


class Health(Object):
    """How a real server stands."""

    state: str = field("`up`, `down`, `new` or `unjudged`.")
    since: str | None = field("When it came to that.")
    why: str = field("Why, or empty.")
    configured: int = field("The stored weight.")
    effective: int | None = field(
        "Its weight in IPVS, which may count in hundredths; null if it is not there."
    )
    agent: Agent | None = field("Null without one.")
    feedback: Feedback | None = field("Null without it.")


class SourcePorts(Object):
    """Of source NAT, toward one real server."""

    used: int = field("In use.")
    ports: int = field("All that there are.")


class Packets(Object):
    """Counted by the service's method, as far as it does: [docs/metrics.md](metrics.md)."""

    accepted: int = field("For its VIPs.", optional=True)
    left_over: int = field("Refused, as neither IPVS nor the proxy took them.", optional=True)
    refused: int = field("Refused for their source.", optional=True)


class Seen(Service, Size):  # type: ignore[misc,valid-type]
    """A service, and what the kernel has of it."""

    role: Role = field("Whether what is for its VIPs is accepted or dropped.")
    ranges_digest: str = field("Equal on directors with the same ranges.")
    packets: Packets = field("Where the kernel has counted any.", optional=True)
    source_ports: dict[str, SourcePorts] = field("By real server.", optional=True)
    health: dict[str, Health] = field("By real server, if any is checked.", optional=True)
    ipvs: dict[str, Balanced] = field("By IP version, `ipv4` and `ipv6`.", optional=True)


class Difference(Object):
    """Something in the kernel that is not as it is stored."""

    what: str = field("What it is.")
    hint: str = field("What to do about it.")
    services: list[str] = field("The services that it concerns; none if it is the director's.")


class Sync(Object):
    """The connection sync."""

    interface: str = field("On which link.")
    id: int = field("The same on directors that belong together.")
    master: bool = field("Whether the daemon that sends runs so.")
    backup: bool = field("Whether the daemon that receives runs so.")


class Method(Object):
    """Whether this director can use a method."""

    usable: bool = field("Whether it can.")
    notes: list[str] = field("Why not; or what to know of one that is in use.")


class Sysctl(Object):
    """One that services need, or the director was given."""

    value: str | None = field("What it is; null if there is none of that name.")
    needed: str = field("What it should be.")
    ok: bool = field("Whether that will do.")


class Last(Object):
    """Something that `watch` did."""

    at: str = field("When.")
    what: str = field("What was put back, and who had changed it.")


class Alive(Object):
    """The device of `watch --alive`."""

    device: str = field("Its name.")
    fit: bool = field("Whether it is up, as this director is fit.")
    since: str = field("When it came to that.")
    why: list[str] = field("What speaks against this director.")


class Watch(Object):
    """The daemon. If it does not answer, there is no more than that."""

    answers: bool = field("Whether it does.")
    ours: bool = field("Whether it watches this state directory.", optional=True)
    state_dir: str = field("The one that it watches.", optional=True)
    pid: int = field("Its process.", optional=True)
    since: str = field("When it was started.", optional=True)
    check: bool = field("Whether it only reports.", optional=True)
    heals: int = field("How often it put something back.", optional=True)
    last: Last | None = field("What it last put back.", optional=True)
    alive: Alive | None = field("Null without `--alive`.", optional=True)
    vrrp: str | None = field(
        "What keepalived said last: `MASTER`, `BACKUP`, `FAULT` or `STOP`, or empty; null without "
        "`--vrrp`.",
        optional=True,
    )


class Come(Object):
    """What has come from a director."""

    taken: int = field("Records that were taken.")
    refused: dict[str, int] = field("Records that were refused, by reason.")


class Peer(Come):
    """How the relay stands with another director."""

    there: bool = field("Whether it gets records now.")
    sends: bool = field("Whether it sends any.")
    sent: int = field("Messages that it got.")
    dropped: int = field("Messages that were too many for it.")


class Relay(Object):
    """The daemon `vipctl sync`. If it does not answer, there is no more than that."""

    answers: bool = field("Whether it does.")
    ours: bool = field("Whether it goes by this state directory.", optional=True)
    state_dir: str = field("The one that it goes by.", optional=True)
    pid: int = field("Its process.", optional=True)
    device: str = field("On which it meets the kernel.", optional=True)
    heard: bool = field("Whether the kernel takes records.", optional=True)
    kept: int = field("Connections that it knows.", optional=True)
    lost: int = field("Messages of the kernel that it lost.", optional=True)
    own: Come = field("What has come from this director's kernel.", optional=True)
    peers: dict[str, Peer] = field("By name.", optional=True)


class Status(Pending):
    """`status`."""

    kernel: str = field("`as stored`; else it begins with `differs` or `unknown`.")
    differences: list[Difference] = field("What differs.")
    problems: list[str] = field("Those of them that the director cannot have.")
    digest: str = field("Equal on directors that have the same.")
    director: Director = field("Its settings.")  # type: ignore[valid-type]
    sync: Sync | None = field("Null without one.")
    relay: Relay | None = field("Null if no daemon carries the sync.")
    role: Role = field("The director's.")
    services: dict[str, Seen] = field("By name.")
    methods: dict[str, Method] = field("By name, the best first.")
    sysctls: dict[str, Sysctl] = field("By name.")
    unbalanced: list[str] = field(
        "VIPs that are accepted for IPVS services of others (`--fwmark`), which IPVS does not have."
    )
    findings: list[str] = field("What the operator should know.")
    watch: Watch | None = field("Null if no daemon runs.")
