"""What each command prints, as models."""

from vipctl.cli.contract.objects import (
    Director,
    Looked,
    Object,
    Pending,
    Printed,
    Role,
    Service,
    Size,
    field,
)
from vipctl.cli.contract.status import Status


class Done(Object):
    """One change."""

    what: str = field("In words.")
    services: list[str] = field("The services that it touches; none if it is the director's.")


class Moved(Object):
    """What a service gains and loses."""

    added: Size = field("What it gains.")
    removed: Size = field("What it loses.")


class Diff(Object):
    """As YAML; of many ranges, those that change."""

    before: str = field("The services that change.")
    after: str = field("The same afterwards.")


class Change(Printed):
    """A command that changes something."""

    changed: bool = field("Whether anything is other than before.")
    check: bool = field("With `--check` nothing was done: all this would be.")
    restored: bool = field("Whether something that others changed was put back first.")
    changes: list[Done] = field("Each change, and whom it touches.")
    renamed: dict[str, str] = field("New names of services, by old ones.")
    services: dict[str, Service] = field(  # type: ignore[valid-type]
        "The services that were named, or whose options or ranges changed, as they are now."
    )
    removed_services: list[str] = field("Services that ended.")
    added: Size = field("What no service had before.")
    removed: Size = field("What no service has now.")
    by_service: dict[str, Moved] = field("By name, moves from one to another too.")
    idle: str = field("Why there was nothing to change, or empty.")
    warnings: list[str] = field("What the operator should know.")
    diff: Diff = field("With `--diff`.", optional=True)


class Range(Object):
    """A prefix."""

    service: str = field("Whose it is.")
    range: str = field("Such as `203.0.113.0/24`.")


class Ranges(Pending):
    """`list-ranges`."""

    ranges: list[Range] = field("The shortest list of prefixes.")


class Listed(Service, Size):  # type: ignore[misc,valid-type]
    """A service as it is stored."""

    role: Role = field("Whether what is for its VIPs is accepted or dropped.")


class Services(Pending):
    """`list-services`."""

    role: Role = field("The director's.")
    services: dict[str, Listed] = field("By name.")


class Holder(Object):
    """A service that has an address."""

    service: str = field("Its name.")
    range: str = field("The prefix by which it has it.")
    method: str = field("How that is accepted.")
    fwmark: int = field("The service's.")
    ports: list[str] = field("Only these; all if there is none.")
    reals: list[str] = field("Its real servers, if IPVS balances it for vipctl.", optional=True)
    kernel: str = field("`as stored`, `differs`, or `unknown: ` and why.")


class Held(Object):
    """An address."""

    address: str = field("The one that was asked for.")
    holders: list[Holder] = field("Several if they have it on different ports.")


class Lookup(Pending):
    """`lookup`."""

    addresses: list[Held] = field("As they were asked for.")


class Ranged(Service):  # type: ignore[misc,valid-type]
    """A service as `apply` takes it."""

    ranges: list[str] = field("Its VIPs.")


class Document(Looked):
    """`export`."""

    director: Director = field("If anything of it is set.", optional=True)  # type: ignore[valid-type]
    services: dict[str, Ranged] = field("By name.")


class Imported(Document):
    """`import`."""

    left_out: list[str] = field("What vipctl cannot have, by file and line.")


class Compared(Looked):
    """`diff`."""

    equal: bool = field("Whether the other has the same.")
    differences: list[str] = field("What it has otherwise.")


class Checked(Object):
    """What one check has found of one real server."""

    service: str = field("Whose.")
    real: str = field("Of which real server.")
    check: str = field("As `--check` names it, or its agent.")
    state: str = field("`passes`, `fails`, `unknown`, or what the agent says.")
    since: str | None = field("When it came to that.")
    why: str = field("What was found.")
    doubt: str = field("Why nothing was found out lately, or empty.")


class Checks(Looked):
    """`list-checks`."""

    checks: list[Checked] = field("Each check of each real server.")


class Step(Object):
    """One step of a packet's way, or one thing that `doctor` has looked at."""

    name: str = field("Which.")
    state: str = field("`well`, `cause` or `unknown`.")
    says: str = field("What was found.")
    evidence: str = field("A command that shows the same, or empty.")
    cause: str | None = field(
        "Its id, as in [docs/explain.md](explain.md) or [docs/doctor.md](doctor.md)."
    )
    fix: str | None = field("What to do about it.")


class Hint(Object):
    """What clients may notice of a VIP that answers."""

    id: str = field("As in [docs/explain.md](explain.md).")
    says: str = field("What was found.")
    fix: str = field("What to do about it.")


class Explained(Pending):
    """`explain`."""

    address: str = field("The VIP.")
    port: str = field("Such as `tcp/80`.")
    client: str = field("Who asks.")
    device: str | None = field("By which interface; null if nobody knows.")
    service: str | None = field("The service that has it; null if none has.")
    steps: list[Step] = field("In the order of the way.")
    causes: list[str] = field("The ids of what is in the way.")
    hints: list[Hint] = field("What else was noticed.")


class Examined(Pending):
    """`doctor`."""

    checks: list[Step] = field("What was looked at.")
    causes: list[str] = field("The ids of what was found.")


class Announced(Looked):
    """`announce`."""

    snippet: str = field("The configuration.")
    routes: list[str] = field("The prefixes in it.")
    addresses_of_no_service: int = field("What these hold beside the ranges.")
    warnings: list[str] = field("What the operator should know.")


class Configured(Printed):
    """`configure`."""

    changed: bool = field("Whether the file is other than before.")
    check: bool = field("With `--check` nothing was done: all this would be.")
    changes: list[Done] = field("What the file has now, if it is another one, and what BIRD says.")
    idle: str = field("The same if it is not, or empty.")
    file: str = field("Which one.")
    answer: str = field("BIRD's own words; empty with `--check`.")
    snippet: str = field("The configuration.")
    routes: list[str] = field("The prefixes in it.")
    addresses_of_no_service: int = field("What these hold beside the ranges.")
    warnings: list[str] = field("What the operator should know.")
    diff: Diff = field("With `--diff`, of the file.", optional=True)


class Sample(Object):
    """One value of a metric."""

    name: str = field("As in [docs/metrics.md](metrics.md).")
    labels: dict[str, str] = field("Their values.")
    value: float | int = field("In the unit of its name.")


class Metrics(Looked):
    """`metrics`."""

    metrics: list[Sample] = field("All of them.")


class Entry(Object):
    """A command that changed something, or tried to. Empty is what nobody told."""

    at: str = field("When it ended.")
    uid: str = field("The user that it ran as: the journal's own word.")
    login_uid: str = field("The user that had logged in.")
    sudo_user: str = field("The user that called sudo.")
    tty: str = field("Its terminal.")
    command: str = field("The whole line, up to 2,000 characters.")
    outcome: str = field("`changed`, `unchanged`, or the kind of the error and what it was.")


class Log(Looked):
    """`log`."""

    entries: list[Entry] = field("The oldest first.")


OTHERS: dict[str, type[Printed]] = {
    "announce": Announced,
    "configure": Configured,
    "diff": Compared,
    "doctor": Examined,
    "explain": Explained,
    "export": Document,
    "import": Imported,
    "list-checks": Checks,
    "list-ranges": Ranges,
    "list-services": Services,
    "log": Log,
    "lookup": Lookup,
    "metrics": Metrics,
    "status": Status,
}
SILENT = ("sync", "watch")  # daemons: they print no object, but an error


def of(command: str) -> type[Printed]:
    return OTHERS.get(command, Change)
