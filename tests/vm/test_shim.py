"""The module beside IPVS: who may use it, and packets that the conformance suite does not send."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import tcp_post, udp_ask
from tests.vm.conftest import served_lab, traceless
from tests.vm.observe import outcomes, tcp, udp
from vipctl import methods
from vipctl.errors import KernelError, Missing
from vipctl.linux import shim
from vipctl.services import batch
from vipctl.services.change import Entry, Shape

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
REALS = ("--real=10.0.1.11", "--real=fd00:1::11")
WEB = (*RANGES, "--service=web", "--method=shim", *REALS)
NOBODY = 65534  # a user
SO_TIMESTAMP = 29  # asm-generic/socket.h
BOTH = [VIP4, VIP6]


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


def entry(version: int, start: int, length: int, mark: int) -> Entry:
    return Entry(Shape(version, 0, length), start, mark)


def in_kernel(host: Namespace) -> tuple[set[Entry], dict[int, shim.Settings]]:
    """All that the module has in a namespace, but counters."""
    with host:
        prefixes = set(batch.entries(shim.prefixes()))
        return prefixes, {m: found.settings for m, found in shim.services().items()}


# who may use it


def test_it_is_the_best_where_it_is_loaded(vipctl: Vipctl) -> None:
    done = vipctl("--check", "add-range", VIP4, "--service=web", *REALS)
    assert done["services"]["web"]["method"] == "shim"
    assert "cannot be used" not in " ".join(changes(done))


@pytest.mark.parametrize(("ours", "cure"), [(2, "modprobe -r"), (0, "install the vipctl")])
def test_another_version_is_refused(
    vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, ours: int, cure: str
) -> None:
    """The handshake names the side to upgrade."""
    monkeypatch.setattr(shim, "VERSION", ours)
    code, error = vipctl.error("add-range", *WEB)
    assert code == 5
    assert "too old" in error["message"]
    assert cure in error["hint"]


def as_nobody(call: Callable[[], object]) -> str:
    """What becomes of a call without privileges, made in a process of its own."""
    reading, writing = os.pipe()
    if not os.fork():
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            said = str(call())
        except Missing as e:
            said = f"missing: {e.message}; {e.hint}"
        except BaseException as e:
            said = f"{type(e).__name__}: {e}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.wait()
    return said


def test_without_privileges_there_is_nothing_to_see(net: Lab) -> None:
    with net.director:
        shim.check()
        for call in (shim.check, shim.services, shim.flush):
            assert "missing: vip_shim: no permission; run as root" in as_nobody(call)


def test_its_table_passes_its_selftest(net: Lab) -> None:
    module.unload()
    try:
        module.load(module.DEBUG)
        assert "vip_shim: selftest of the table passed" in net.director.run(["dmesg"]).stdout
        module.unload()
    finally:
        module.load()


# packets


def test_ports_and_fragments(net: Lab, vipctl: Vipctl) -> None:
    """A service that names ports gets all of a datagram, however many pieces it comes in."""
    vipctl("add-range", *WEB, "--port=udp/80", "--port=tcp/80")
    for vip in BOTH:
        assert udp_ask(net.client, vip, 80, nbytes=4000).server == "real1"
    assert udp(net.client, BOTH)["real1"] == 2
    assert outcomes(net.client, BOTH, 53) == dict.fromkeys(BOTH, ("refused", "refused"))


def test_packets_larger_than_the_mtu(net: Lab, vipctl: Vipctl) -> None:
    """As GRO makes them of small ones, and a virtual interface without."""
    table = "table inet large { chain c { type filter hook prerouting priority -300;"
    rule = "iifname eth0 meta length > 3000 counter; }; }"
    net.director.run(["nft", "-f", "-"], input=f"{table} {rule}")
    try:
        vipctl("add-range", *WEB)
        for vip in BOTH:
            assert tcp_post(net.client, vip, 80, 1_000_000).nbytes == 1_000_000
        counted = net.director.run(["nft", "list", "table", "inet", "large"]).stdout
        assert "counter packets 0 " not in counted
    finally:
        net.director.run(["nft", "delete", "table", "inet", "large"])


def test_counters(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *WEB, "--port=tcp/80")
    assert tcp(net.client, BOTH)["real1"] == 2
    outcomes(net.client, [VIP4], 22)
    net.client.ip("addr add 10.0.1.1/32 dev lo")  # an address of the director
    try:
        udp_ask(net.client, VIP4, 80, source="10.0.1.1", timeout=0.5)
    finally:
        net.client.ip("addr del 10.0.1.1/32 dev lo")
    counted = vipctl("status")["services"]["web"]["packets"]
    assert counted["accepted"] >= 6
    assert counted["left_over"] == 2
    assert counted["refused"] == 1
    done = vipctl.text("status").stdout
    assert "SOURCE REFUSED" in done


def test_namespaces_know_nothing_of_each_other(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *WEB)
    assert in_kernel(net.reals[0]) == (set(), {})
    with net.reals[0]:
        shim.flush()
    assert tcp(net.client, BOTH)["real1"] == 2


# bridges and VRFs


def bridge(director: Namespace) -> None:
    """Put the client behind a port of a bridge."""
    module._call("modprobe", "br_netfilter")
    mac = json.loads(director.run(["ip", "-json", "link", "show", "eth0"]).stdout)[0]["address"]
    director.ip(
        "link add br0 type bridge",
        f"link set br0 address {mac} up",
        "link set eth0 master br0",
        "addr flush dev eth0",
        "addr add 10.0.0.1/24 dev br0",
        "addr add fd00::1/64 dev br0 nodad",
    )


@pytest.fixture(scope="module")
def bridged() -> Iterator[Lab]:
    with served_lab(bridge) as built:
        yield built


@pytest.mark.parametrize("asked", [0, 1])
def test_bridges(bridged: Lab, tmp_path: Path, asked: int) -> None:
    """With bridge-nf-call-iptables, a bridge gives packets a route of its own: that is said."""
    for name in ("iptables", "ip6tables"):
        bridged.director.sysctl(f"net.bridge.bridge-nf-call-{name}", asked)
    with traceless(bridged.director, tmp_path) as vipctl:
        warnings = " ".join(vipctl("add-range", *WEB)["warnings"])
        assert ("net.bridge.bridge-nf-call-ip6tables is 1" in warnings) is bool(asked)
        assert ("method shim" in vipctl.text("status").stdout) is bool(asked)
        assert tcp(bridged.client, BOTH, 80)["real1"] == (0 if asked else 2)
        assert tcp(bridged.client, ["10.0.0.1", "fd00::1"], 22)["director"] == 2
        vipctl("set-service", "web", "--method=fwmark")
        assert tcp(bridged.client, BOTH)["real1"] == 2


def enslave(director: Namespace) -> None:
    """Put the client behind an interface of a VRF; IPVS needs its networks in the main table."""
    director.ip(
        "link add red type vrf table 10",
        "link set red up",
        "link set eth0 master red",
        "addr add fd00::1/64 dev eth0 nodad",
        "route add 10.0.0.0/24 dev eth0",
        "route add fd00::/64 dev eth0",
    )


def test_vrf(tmp_path: Path) -> None:
    """VIPs are accepted from an interface in a VRF; IPVS itself knows the main table alone."""
    with served_lab(enslave) as built, traceless(built.director, tmp_path) as vipctl:
        vipctl("add-range", *WEB)
        assert tcp(built.client, BOTH)["real1"] == 2
        assert udp(built.client, BOTH)["real1"] == 2
        for strictness in (2, 1):
            built.director.sysctl("net.ipv4.conf.all.rp_filter", strictness)
            assert tcp(built.client, [VIP4])["real1"] == 1


def test_the_lowest_address_of_a_subnet_is_a_host(net: Lab, vipctl: Vipctl) -> None:
    """As it is for routing, since Linux 5.14."""
    vipctl("add-range", *WEB)
    net.client.ip("addr add 10.0.0.0/32 dev eth0")
    try:
        assert udp_ask(net.client, VIP4, 53, source="10.0.0.0").server == "real1"
    finally:
        net.client.ip("addr del 10.0.0.0/32 dev eth0")


def test_pings_are_answered_while_packets_are_stamped(net: Lab, vipctl: Vipctl) -> None:
    """When a request came is not when its answer is to go, as which fq would take it."""
    vipctl("add-range", *WEB, "--ping")
    net.director.run(["tc", "qdisc", "replace", "dev", "eth0", "root", "fq"])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stamping:
            stamping.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMP, 1)
            for vip in BOTH:
                net.client.run(["ping", "-c", "1", "-W", "5", vip])
    finally:
        net.director.run(["tc", "qdisc", "delete", "dev", "eth0", "root"])


# what goes wrong


DAMAGE: dict[str, Callable[[], object]] = {
    "everything": shim.flush,
    "a prefix less": lambda: changed("delete", entry(4, 0xCB007100, 24, 0)),
    "a prefix more": lambda: changed("add", entry(4, 0xC6336400, 24, 0x1000)),
    "other ports": lambda: set_service(0x1000, shim.Settings(0, ())),
    "another service": lambda: set_service(99, shim.Settings(0, ())),
}


def changed(verb: str, *entries: Entry) -> None:
    with shim.changing() as commands:
        getattr(commands, verb)(batch.of_entries(entries))


def set_service(mark: int, settings: shim.Settings) -> None:
    with shim.changing() as commands:
        commands.set_service(mark, settings)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_others_changed_is_restored(
    net: Lab, vipctl: Vipctl, damage: Callable[[], object]
) -> None:
    again = ("add-range", VIP4, "--service=web")
    vipctl("add-range", *WEB, "--port=tcp/80")
    before = in_kernel(net.director)
    assert vipctl(*again)["changed"] is False
    with net.director:
        damage()
    assert in_kernel(net.director) != before
    assert vipctl("status")["kernel"] == "differs"
    done = vipctl(*again)
    assert (done["changed"], done["restored"]) == (True, True)
    assert in_kernel(net.director) == before
    assert tcp(net.client, BOTH)["real1"] == 2


@pytest.mark.parametrize("verb", ["set_service", "add", "delete", "delete_service"])
def test_a_failure_half_way_leaves_all_as_it_was(
    net: Lab, vipctl: Vipctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Each kind of change succeeds, and the kernel says no after it."""
    vipctl("add-range", *WEB, "--port=tcp/80")
    vipctl("add-range", "192.0.2.0/24", "--service=old", "--method=shim", *REALS)
    before = in_kernel(net.director), vipctl("export")
    file = tmp_path / "next.yaml"
    file.write_text(
        "services:\n"
        "  web: {method: shim, ranges: [203.0.113.0/25, 198.51.100.0/24], ports: [tcp/81],"
        " reals: [10.0.1.11]}\n"
    )
    real = getattr(shim.Commands, verb)

    def failing(self: shim.Commands, *values: object) -> None:
        monkeypatch.undo()
        real(self, *values)
        raise KernelError("no", hint="none")

    monkeypatch.setattr(shim.Commands, verb, failing)
    assert vipctl.error("apply", str(file))[0] == 4
    assert (in_kernel(net.director), vipctl("export")) == before
    assert tcp(net.client, BOTH)["real1"] == 2
    assert vipctl("apply", str(file))["changed"] is True
    assert in_kernel(net.director) != before[0]


@contextmanager
def unloaded() -> Iterator[None]:
    """The module is gone, as after a boot into a kernel that it was not built for."""
    module.unload()
    try:
        yield
    finally:
        module.load()


OTHER = ("198.51.100.0/24", "--service=other", "--method=fwmark", *REALS)


def test_a_method_that_is_gone_comes_back(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *WEB)
    with unloaded():
        assert "vip_shim" in str(methods.unusable("shim"))
        code, error = vipctl.error("add-range", "192.0.2.1", "--service=web")
        assert (code, error["kind"]) == (5, "missing")
        assert "VIPs of web are not accepted, as the module vip_shim" in error["message"]
        assert "vipctl set-service web --method auto" in error["hint"]
        assert vipctl("status")["kernel"] == "differs"
    assert vipctl("restore")["changed"] is True
    assert tcp(net.client, BOTH)["real1"] == 2


@pytest.mark.parametrize("leave", [("set-service", "web", "--method=auto"), ("apply",)])
def test_a_method_that_is_gone_can_be_left(
    net: Lab, vipctl: Vipctl, tmp_path: Path, leave: tuple[str, ...]
) -> None:
    vipctl("add-range", *WEB)
    vipctl("add-range", *OTHER)
    file = tmp_path / "file.yaml"
    file.write_text(vipctl.text("export").stdout.replace("method: shim", "method: fwmark"))
    words = [*leave, str(file)] if leave == ("apply",) else leave
    with unloaded():
        assert vipctl("--check", *words)["changed"] is True
        assert vipctl(*words)["changed"] is True
        assert tcp(net.client, [*BOTH, "198.51.100.7"])["real1"] == 3
        assert vipctl("restore")["changed"] is False
    assert vipctl("restore")["changed"] is False


def test_a_service_of_a_method_that_is_gone_can_be_removed(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *WEB)
    vipctl("add-range", *OTHER)
    with unloaded():
        assert vipctl("remove-service", "web")["changed"] is True
        assert vipctl("restore")["changed"] is False
        assert tcp(net.client, ["198.51.100.7"])["real1"] == 1


def test_a_boot_without_the_module_restores_the_rest(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", *WEB)
    vipctl("add-range", *OTHER)
    state_dir = shutil.copytree(vipctl.state_dir, tmp_path / "copy")
    with unloaded(), served_lab() as other:
        booted = Vipctl(other.director, state_dir)
        for words in (("--check", "restore"), ("restore",), ("restore",)):
            code, error = booted.error(*words)
            assert (code, error["kind"]) == (5, "missing")
            assert "VIPs of web are not accepted" in error["message"]
        assert tcp(other.client, ["198.51.100.7"])["real1"] == 1
        assert booted("set-service", "web", "--method=auto")["changed"] is True
        assert tcp(other.client, BOTH)["real1"] == 2
        for name in ("web", "other"):
            booted("remove-service", name)
    assert vipctl("restore")["changed"] is True


def test_lookup_tells_what_the_kernel_lacks(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *WEB)
    (found,) = vipctl("lookup", VIP4)["addresses"]
    (holder,) = found["holders"]
    assert (holder["range"], holder["kernel"]) == (RANGES[0], "as stored")
    with net.director, shim.changing() as commands:
        commands.delete(batch.of_entries([entry(4, 0xCB007100, 24, holder["fwmark"])]))
    kernel = [one["holders"][0]["kernel"] for one in vipctl("lookup", *BOTH)["addresses"]]
    assert kernel == ["differs", "as stored"]
