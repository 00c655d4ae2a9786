"""The options of a service, each described here and nowhere else. Pure."""

from vipctl.errors import UsageError
from vipctl.services import agents, checks
from vipctl.services.methods import METHODS
from vipctl.services.option import Option, amount, choice, duration, switch, word, words
from vipctl.services.real import FORM, parse_fallback, parse_real, parse_reals
from vipctl.services.syntax import (
    parse_persistence,
    parse_port,
    parse_ports,
    parse_scheduler,
    parse_sources,
)
from vipctl.services.values import AUTO, AllDown, CheckVia, Feedback, Forward, Leftover, Persistence


def _known(method: str) -> str:
    if method not in (AUTO, *METHODS):
        raise UsageError(f"{method!r} is not a method", hint="one of " + " ".join(METHODS))
    return method


OPTIONS: dict[str, Option] = {  # by field of a Service
    "fwmark": amount(
        "Default: the lowest free one of vipctl's block.",
        "fwmark",
        "MARK",
        1,
        0xFFFFFFFF,
        hexadecimal=True,
    ),
    "method": word(
        "How packets are accepted; default auto, the best here.",
        "",
        _known,
        choices=(AUTO, *METHODS),
        agree=True,
        lasting=True,
        local=True,
    ),
    "ports": words(
        "Only this port, or range of ports; repeat. 'all' is every port, the default.",
        "tcp/80|tcp/1000-2000|udp",
        parse_ports,
        parse_port,
        flag="--port",
        empty="all",
    ),
    "leftover": choice(
        "What IPVS does not take is rejected (default) or dropped.", Leftover, agree=True
    ),
    "ping": switch("Answer echo requests; default no.", agree=True),
    "reals": words(
        "Real server; repeat.",
        FORM,
        parse_reals,
        parse_real,
        flag="--real",
        ipvs=True,
    ),
    "scheduler": word(
        "rr, wrr, wlc (the default), sh, mh, …. Flags: ops; of sh and mh fallback, port.",
        "NAME[,FLAG…]",
        parse_scheduler,
        ipvs=True,
    ),
    "forward": choice("Forwarding method; default nat.", Forward, ipvs=True),
    "persistence": Option(
        "Keep a client on its real server; 0: do not. Clients that share the first mask bits of "
        "an IPv4 address, or mask6 of an IPv6 address, stay together. pe=sip: by calls "
        "of SIP over UDP.",
        object,
        parse_persistence,
        Persistence.plain,
        "SECONDS[,mask=N][,mask6=N][,pe=sip]",
        ipvs=True,
    ),
    "source_nat": words(
        "Real servers see this address of the director instead of the client's (nat only); repeat. "
        "'auto' is that of the route to them; 'no', the default, leaves the client's.",
        "IP|auto|no",
        parse_sources,
        flag="--source-nat",
        ipvs=True,
        local=True,
    ),
    "checks": words(
        "vipctl watch asks each real server this; repeat: all must pass. 'no', the default: none. "
        "(--check alone is that of all commands.)",
        checks.FORM,
        checks.parse_checks,
        checks.parse_check,
        flag="--check",
        ipvs=True,
    ),
    "check_via": choice(
        "Whether checks ask at the real server's address or through IPVS at a VIP; default auto: "
        "rip with nat, vip with dr and tun.",
        CheckVia,
        ipvs=True,
    ),
    "fallback": Option(
        "The server that gets clients while all real servers fail; 'no', the default: none.",
        str,
        parse_fallback,
        lambda real: "no" if real is None else str(real),
        "RIP[:PORT]|no",
        ipvs=True,
    ),
    "all_down": choice(
        "While all real servers fail: keep the last that worked (the default), send clients to the "
        "fallback (the default if there is one), or refuse them.",
        AllDown,
        ipvs=True,
    ),
    "slow_start": duration(
        "A real server that comes back gets its weight little by little in so long; 0: at once.",
        3600,
        ipvs=True,
    ),
    "dead_after": duration(
        "A real server that fails for so long is removed, which ends its connections; before, it "
        "only gets no new ones. 0: never.",
        86400,
        ipvs=True,
    ),
    "agent": Option(
        "vipctl watch asks a port of each real server how it is, as HAProxy's agent-check does; "
        "'no', the default: none.",
        str,
        agents.parse_agent,
        lambda agent: "no" if agent is None else str(agent),
        agents.FORM,
        ipvs=True,
    ),
    "feedback": choice(
        "load: weights follow the percentages of agents, damped, and a real server that fails fast "
        "gets less. With wlc, sed, nq and twos. Default no.",
        Feedback,
        ipvs=True,
    ),
    "set_sysctls": switch(
        "Set the sysctls that the service needs; default: only warn.", ipvs=True, local=True
    ),
}


# Including the options that belong to one method.
EVERY_OPTION = OPTIONS | {
    name: option for method in METHODS.values() for name, option in method.options.items()
}
