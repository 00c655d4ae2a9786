"""Prefixes by the thousand: the kernel tells `vipctl watch` of none, and nothing is missed."""

from contextlib import suppress
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.test_watch import FLUSH, RANGES, Daemon, watching
from vipctl.state import runtime
from vipctl.state.directory import lock

MANY = 150_000  # prefixes: to tell of them takes more than waits for a daemon
PATIENCE = 120.0  # seconds, on a machine that does much else
RARELY = ("--every", "3600")


def sockets(daemon: Daemon) -> list[tuple[bool, int]]:
    """The daemon's of netlink that hear: whether they do now, and how much they have missed."""
    process = Path("/proc", str(daemon.process.pid))
    rows = [line.split() for line in (process / "net/netlink").read_text().splitlines()[1:]]
    own = {link for fd in (process / "fd").iterdir() if (link := target(fd))}
    return [(int(row[3], 16) != 0, int(row[8])) for row in rows if f"socket:[{row[-1]}]" in own]


def target(fd: Path) -> str:
    """What a descriptor leads to; one of a moment may be closed by now."""
    with suppress(OSError):
        return str(fd.readlink())
    return ""


def listens(daemon: Daemon) -> bool:
    return [hears for hears, _ in sockets(daemon)] == [True, True]


def is_deaf(daemon: Daemon) -> bool:
    return [hears for hears, _ in sockets(daemon)] == [False, False]


def test_nobody_is_told_of_each_prefix(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """Neither of those that it loads itself, nor of a command's; and then it hears again."""
    file = tmp_path / "ranges"
    file.write_text("".join(f"10.{n >> 15}.{n >> 7 & 255}.{2 * n & 255}\n" for n in range(MANY)))
    with watching(vipctl, tmp_path / "log") as daemon:
        vipctl("add-range", f"@{file}", "--fwmark", "17")
        for method in ("route", "fwmark"):
            vipctl("set-service", "fwmark-17", "--method", method)
        wait_until(lambda: listens(daemon), "it listens")
        net.director.run(FLUSH)
        daemon.wait_for("put back: method fwmark (the kernel told of ", PATIENCE)
        assert "table vipctl by nft[" in daemon.said()[-1]
        wait_until(lambda: listens(daemon), "it listens again")
        assert [missed for _, missed in sockets(daemon)] == [0, 0]
        net.director.run(["nft", "delete element inet vipctl v4_32_262144 { 10.0.0.2 }"])
        wait_until(lambda: len(daemon.said()) == 3, "it has heard that", PATIENCE)
        assert "table vipctl by nft[" in daemon.said()[-1]
        assert vipctl("restore")["changed"] is False


def test_what_others_do_meanwhile_is_found(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """Also where the command that loads is killed: it tells no more."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    whole = snapshot.unordered(net.director)
    with watching(vipctl, tmp_path / "log", command=RARELY) as daemon:
        with lock(vipctl.state_dir):
            with net.director:
                runtime.tell(runtime.LOADING)
            wait_until(lambda: is_deaf(daemon), "it does not listen")
            net.director.run(["nft", "delete element inet vipctl v4_24_1024 { 203.0.113.0 }"])
        daemon.wait_for("put back: method fwmark")
        wait_until(lambda: listens(daemon), "it listens again")
        assert snapshot.unordered(net.director) == whole
