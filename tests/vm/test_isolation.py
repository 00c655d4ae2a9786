"""What IPVS or sysctls of a director cannot have takes down only itself, and is in nobody's way."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.readonly import with_read_only_sysctls
from tests.vm.observe import kernel_state, tcp
from vipctl.linux import ipvs

VIP4, VIP6, OTHER = "203.0.113.7", "2001:db8:1::7", "198.51.100.7"
REALS = ("--real=10.0.1.11", "--real=fd00:1::11")
FORWARD4 = "net.ipv4.ip_forward"
SET = (FORWARD4, "net.ipv4.vs.conntrack", "net.ipv4.vs.expire_nodest_conn")
UNLOADABLE = Path("/etc/modprobe.d/vipctl-test.conf")
MISSING = "as this kernel has no IPVS scheduler 'lblcr'"


@contextmanager
def without_lblcr(
    net: Lab, directory: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> Iterator[None]:
    """A kernel that lacks a scheduler; whether that can be known from its files."""
    UNLOADABLE.write_text("install ip_vs_lblcr /bin/false\n")
    net.director.run(["ipvsadm", "-C"])
    execute(["rmmod", "ip_vs_lblcr"])
    modules = directory / Path(execute(["uname", "-r"]).stdout.strip())
    modules.mkdir()
    for name in ("modules.dep", "modules.builtin") if known else ():
        (modules / name).write_text("kernel/net/netfilter/ipvs/ip_vs_rr.ko:\n")
    with monkeypatch.context() as patch:
        patch.setattr(ipvs, "MODULES", directory)
        try:
            yield
        finally:
            UNLOADABLE.unlink()


@pytest.mark.parametrize("known", [True, False])
def test_a_scheduler_that_the_new_kernel_lacks(
    net: Lab, vipctl: Vipctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    vipctl("add-range", VIP4, VIP6, "--service=web", *REALS, "--scheduler=lblcr")
    vipctl("add-range", OTHER, "--service=other", "--scheduler=rr", *REALS)
    with without_lblcr(net, tmp_path, monkeypatch, known=known):
        for words in [("--check", "restore")] * known + [("restore",)] * 2:
            code, error = vipctl.error(*words)
            assert (code, error["kind"]) == (5, "missing")
            assert f"web is not balanced (IPv4), {MISSING}" in error["message"]
            assert f"web is not balanced (IPv6), {MISSING}" in error["message"]
            assert error["hint"].startswith("modprobe ip_vs_lblcr; then vipctl restore")
        assert tcp(net.client, [OTHER]) == Counter(real1=1)
        assert tcp(net.client, [VIP4, VIP6]) == Counter(refused=2), "the guard is there"
        assert vipctl("status")["kernel"] == "differs"
        assert_others_go_ahead(vipctl)
        assert vipctl.error("add-service", "new", *REALS, "--scheduler=lblcr")[0] == 5
        assert vipctl("remove-real", "web", "fd00:1::11")["changed"] is True
        assert MISSING not in str(vipctl("set-service", "web", "--scheduler=wrr")["warnings"])
        assert tcp(net.client, [VIP4]) == Counter(real1=1)
    assert vipctl("restore")["changed"] is False


def assert_others_go_ahead(vipctl: Vipctl) -> None:
    for words, changed in ((["192.0.2.0/24"], True), (["192.0.2.0/24"], False)):
        done = vipctl("add-range", *words, "--service=other")
        assert (done["changed"], done["restored"]) == (changed, False)
        assert MISSING in str(done["warnings"])
    done = vipctl("add-range", "192.0.3.0/24", "--service=web")
    assert (done["changed"], MISSING in str(done["warnings"])) == (True, True)


def test_it_can_be_removed(
    net: Lab, vipctl: Vipctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vipctl("add-range", VIP4, "--service=web", *REALS, "--scheduler=lblcr")
    with without_lblcr(net, tmp_path, monkeypatch, known=True):
        for check in (("--check",), ()):
            done = vipctl(*check, "remove-service", "web")
            assert (done["changed"], done["warnings"]) == (True, [])
    assert vipctl("restore")["changed"] is False


def read_only(vipctl: Vipctl, *words: str) -> dict[str, object]:
    return with_read_only_sysctls(lambda: vipctl(*words))


@pytest.fixture
def set_by_vipctl(net: Lab, vipctl: Vipctl) -> Iterator[Vipctl]:
    built = {key: net.director.sysctl(key) for key in SET}
    net.director.sysctl(FORWARD4, 0)
    vipctl("add-range", VIP4, "--service=web", "--real=10.0.1.11", "--set-sysctls")
    yield vipctl
    for key, value in built.items():
        net.director.sysctl(key, value)


def test_a_sysctl_that_cannot_be_put_back(net: Lab, set_by_vipctl: Vipctl) -> None:
    for check in (["--check"], []):
        done = read_only(set_by_vipctl, *check, "remove-service", "web")
        said = f"sysctl {FORWARD4} = 0: Read-only file system: it stays as it is"
        assert (done["changed"], said in str(done["warnings"])) == (True, True)
    assert set_by_vipctl("list-services")["services"] == {}
    assert set_by_vipctl("restore")["changed"] is False
    assert net.director.sysctl(FORWARD4) == "1"


def test_a_sysctl_that_cannot_be_set_again(net: Lab, set_by_vipctl: Vipctl) -> None:
    vipctl, named = set_by_vipctl, f"{FORWARD4} is not as web needs it"
    net.director.sysctl(FORWARD4, 0)
    net.director.run(["nft", "flush", "ruleset"])
    for words in (["--check", "restore"], ["restore"], ["restore"]):
        code, error = with_read_only_sysctls(lambda words=words: vipctl.error(*words))  # type: ignore[misc]
        assert (code, named in error["message"]) == (5, True)
    net.director.sysctl(FORWARD4, 1)
    assert tcp(net.client, [VIP4]) == Counter(real1=1)
    net.director.sysctl(FORWARD4, 0)
    for check in (["--check"], []):
        done = read_only(vipctl, *check, "add-range", OTHER, "--fwmark=18")
        assert (done["changed"], done["restored"]) == (True, False)
        assert named in str(done["warnings"])
    assert vipctl("restore")["changed"] is True
    assert net.director.sysctl(FORWARD4) == "1"
    vipctl("remove-service", "fwmark-18")
    vipctl("remove-service", "web")
    assert net.director.sysctl(FORWARD4) == "0"


def test_a_new_service_whose_sysctl_cannot_be_set(net: Lab, vipctl: Vipctl) -> None:
    net.director.sysctl(FORWARD4, 0)
    try:
        before = kernel_state(net.director)
        words = ("add-range", VIP4, "--service=web", "--real=10.0.1.11", "--set-sysctls")
        for check in ((), ("--check",)):
            code, error = with_read_only_sysctls(lambda c=check: vipctl.error(*c, *words))  # type: ignore[misc]
            assert (code, "Read-only file system" in error["message"]) == (4, True), error
            assert "way back" not in error["message"]
        assert kernel_state(net.director) == before
        assert vipctl("list-services")["services"] == {}
    finally:
        net.director.sysctl(FORWARD4, 1)


def test_ipv6_that_is_disabled(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", VIP4, VIP6, "--service=web", *REALS, "--scheduler=rr")
    net.director.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
    try:
        for words in (["--check", "restore"], ["restore"], ["restore"]):
            code, error = vipctl.error(*words)
            assert (code, "IPv6 VIPs of web are not accepted" in error["message"]) == (5, True)
            assert "not balanced" not in error["message"]
        assert tcp(net.client, [VIP4]) == Counter(real1=1)
        assert "IPv6" not in str(vipctl("remove-range", VIP6)["warnings"])
    finally:
        net.director.sysctl("net.ipv6.conf.lo.disable_ipv6", 0)
    assert "IPv6" not in str(vipctl("add-range", VIP6, "--service=web")["warnings"])
    assert tcp(net.client, [VIP4, VIP6]) == Counter(real1=2)
