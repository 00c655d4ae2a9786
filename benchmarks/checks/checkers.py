"""vipctl, keepalived and ldirectord, each with the same real servers and the same patience."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

VIP, PORT = "203.0.113.7", 80
EVERY, TIMEOUT, FALL, RISE = 2, 1, 3, 2
CHECK = f"tcp,every={EVERY}s,timeout={TIMEOUT}s,fall={FALL},rise={RISE}"
KEEPALIVED = """virtual_server {vip} {port} {{
    delay_loop {every}
    lb_algo rr
    lb_kind NAT
    protocol TCP
{reals}}}
"""
KEEPALIVED_REAL = """    real_server {real} {port} {{
        inhibit_on_failure
        TCP_CHECK {{
            connect_timeout {timeout}
            retry {retry}
            delay_before_retry {every}
        }}
    }}
"""
LDIRECTORD = """checktimeout={timeout}
checkinterval={every}
failurecount={fall}
quiescent=yes
supervised=yes
virtual={vip}:{port}
{reals}
        protocol=tcp
        scheduler=rr
        checktype=connect
"""
VALUES = {"vip": VIP, "port": PORT, "every": EVERY, "timeout": TIMEOUT, "fall": FALL}


class Checker(NamedTuple):
    """The commands that make it ready, and the one that runs until it is killed."""

    name: str
    before: Sequence[Sequence[str]]
    argv: Sequence[str]


def vipctl(directory: Path, reals: Sequence[str]) -> Checker:
    argv = [sys.executable, "-m", "vipctl", "--state-dir", str(directory / "state")]
    options = ["--service=web", f"--port=tcp/{PORT}", "--scheduler=rr", f"--check={CHECK}"]
    add = [*argv, "add-range", VIP, *options, *(f"--real={real}:{PORT}" for real in reals)]
    return Checker("vipctl watch", [add], [*argv, "watch"])


def keepalived(directory: Path, reals: Sequence[str]) -> Checker:
    values = VALUES | {"retry": FALL - 1}
    each = "".join(KEEPALIVED_REAL.format(real=real, **values) for real in reals)
    file = directory / "keepalived.conf"
    file.write_text(KEEPALIVED.format(reals=each, **values))
    pids = [f"--{name}={directory / name}" for name in ("pid", "checkers_pid")]
    argv = ["keepalived", "--dont-fork", "--check", f"--use-file={file}", *pids]
    return Checker("keepalived", [], argv)


def ldirectord(directory: Path, reals: Sequence[str]) -> Checker:
    file = directory / "ldirectord.cf"
    each = "\n".join(f"        real={real}:{PORT} masq" for real in reals)
    file.write_text(LDIRECTORD.format(reals=each, **VALUES))
    return Checker("ldirectord", [], ["ldirectord", str(file), "start"])


ALL = {"vipctl": vipctl, "keepalived": keepalived, "ldirectord": ldirectord}
