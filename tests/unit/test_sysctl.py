"""Sysctls that services need: set on request, remembered, put back. On a host of its own."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.harness.netns import Namespace
from tests.harness.readonly import with_read_only_sysctls
from vipctl.errors import KernelError
from vipctl.linux import sysctl
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import AUTO, Forward, Persistence

FORWARDING, FORWARDING6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
PMTU, EXPIRE = "net.ipv4.vs.pmtu_disc", "net.ipv4.vs.expire_quiescent_template"

RIP, RIP6 = RealServer(ip_address("10.0.1.11")), RealServer(ip_address("fd00:1::11"))
WEB = Service("web", 0x1000, reals=(RIP,), set_sysctls=True)
DR = Service("dr", 0x1001, reals=(RIP,), forward=Forward.DR, set_sysctls=True)
TUN = Service("tun", 0x1002, reals=(RIP,), forward=Forward.TUN)


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A host that does not forward; the test runs on it."""
    found = Namespace.create("sysctl")
    with found:
        sysctl.write(FORWARDING, "0")
        sysctl.write(FORWARDING6, "0")
        yield found
    found.close()


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        (WEB, {FORWARDING: "1"}),
        (WEB._replace(reals=(RIP6,)), {FORWARDING6: "1"}),
        (WEB._replace(reals=(RIP, RIP6)), {FORWARDING: "1", FORWARDING6: "1"}),
        (WEB._replace(reals=()), {}),
        (DR, {}),
        (TUN, {PMTU: "0"}),
        (WEB._replace(reals=(RIP._replace(forward="tun"), RIP6)), {PMTU: "0", FORWARDING6: "1"}),
        (TUN._replace(reals=(RIP._replace(forward="dr"),)), {}),
        (DR._replace(persistence=Persistence(60)), {EXPIRE: "1"}),
        (Service("fwmark-17", 17), {}),
    ],
)
def test_what_a_service_needs(service: Service, wanted: dict[str, str]) -> None:
    found = sysctl.needed([service])
    found.pop(sysctl.CONNTRACK, None)  # only where this kernel tracks connections
    of_any = {sysctl.EXPIRE_NODEST: "1"} if service.balanced and service.reals else {}
    assert found == wanted | of_any


def test_what_services_disagree_on_is_left_alone() -> None:
    assert sysctl.CONNTRACK not in sysctl.needed([WEB, DR])
    mixed = WEB._replace(reals=(RIP, RIP6._replace(forward="dr")))
    assert sysctl.CONNTRACK not in sysctl.needed([mixed])
    assert sysctl.CONNTRACK not in sysctl.needed([mixed, WEB])
    assert sysctl.needed([WEB, TUN]).items() >= {FORWARDING: "1", PMTU: "0"}.items()


def test_source_nat_has_connections_tracked_beside_whatever_service() -> None:
    translated = WEB._replace(source_nat=(AUTO,))
    for others in ([], [DR], [WEB, TUN]):
        assert sysctl.needed([translated, *others])[sysctl.CONNTRACK] == "1"


@pytest.mark.usefixtures("host")
def test_what_is_set_is_put_back() -> None:
    planned = sysctl.plan({}, [WEB])
    assert planned == {FORWARDING: ("0", "1")}
    sysctl.enforce({}, planned)
    assert sysctl.read(FORWARDING) == "1"
    assert sysctl.unmet(sysctl.needed([WEB])) == {}
    assert sysctl.plan(planned, [WEB]) == planned, "the value to put back is forgotten"
    sysctl.enforce(planned, {})
    assert sysctl.read(FORWARDING) == "0"


@pytest.mark.usefixtures("host")
def test_what_somebody_else_changed_since_is_not_put_back() -> None:
    planned = sysctl.plan({}, [WEB._replace(reals=(RIP6,))])
    sysctl.enforce({}, planned)
    sysctl.write(FORWARDING6, "0")
    sysctl.write(FORWARDING, "1")
    sysctl.enforce({FORWARDING6: ("1", "1"), FORWARDING: ("0", "2")}, {})
    assert (sysctl.read(FORWARDING6), sysctl.read(FORWARDING)) == ("0", "1")


@pytest.mark.usefixtures("host")
def test_what_is_right_already_is_not_ours_to_put_back() -> None:
    sysctl.write(FORWARDING, "1")
    assert sysctl.plan({}, [WEB]) == {}


@pytest.mark.usefixtures("host")
def test_nothing_is_set_without_being_asked_for() -> None:
    quiet = WEB._replace(set_sysctls=False)
    assert sysctl.plan({}, [quiet]) == {}
    assert sysctl.missed(sysctl.needed([quiet]), [quiet]) == {FORWARDING: "1"}


@pytest.mark.usefixtures("host")
def test_what_is_set_stays_while_any_service_needs_it() -> None:
    planned = sysctl.plan({}, [WEB])
    other = WEB._replace(name="other", fwmark=0x1003, set_sysctls=False)
    assert sysctl.plan(planned, [other]) == planned
    assert sysctl.plan(planned, [DR]) == {}


@pytest.mark.usefixtures("host")
def test_a_change_behind_our_back_is_seen_and_undone() -> None:
    planned = sysctl.plan({}, [WEB])
    sysctl.enforce({}, planned)
    sysctl.write(FORWARDING, "0")
    assert sysctl.unmet({name: new for name, (_, new) in planned.items()}) == {FORWARDING: "1"}
    sysctl.enforce(planned, planned)
    assert sysctl.read(FORWARDING) == "1"


@pytest.mark.usefixtures("host")
def test_another_value_for_a_moment() -> None:
    with sysctl.held(FORWARDING, "1"):
        assert sysctl.read(FORWARDING) == "1"
    assert sysctl.read(FORWARDING) == "0"
    with sysctl.held(FORWARDING, "0"):
        sysctl.write(FORWARDING, "1")
    assert sysctl.read(FORWARDING) == "1", "what was not changed is not put back"
    with sysctl.held("net.ipv4.vs.no_such_thing", "1"):
        pass


def test_a_sysctl_that_the_kernel_does_not_have() -> None:
    assert sysctl.read("net.ipv4.vs.no_such_thing") is None
    assert sysctl.unmet({"net.ipv4.vs.no_such_thing": "1"}) == {}
    with pytest.raises(KernelError, match=r"net\.ipv4\.vs\.no_such_thing = 1: ") as caught:
        sysctl.write("net.ipv4.vs.no_such_thing", "1")
    assert caught.value.hint


def test_what_cannot_be_written_is_named_and_the_rest_is_done(host: Namespace) -> None:
    planned = sysctl.plan({}, [WEB._replace(reals=(RIP, RIP6))])
    sysctl.enforce({}, {FORWARDING: planned[FORWARDING]})

    def put_back_and_set() -> tuple[sysctl.Refusals, ...]:
        with host:
            left, new = ({name: planned[name]} for name in (FORWARDING, FORWARDING6))
            return sysctl.foreseen(left, new), sysctl.enforce(left, new)

    for refused in with_read_only_sysctls(put_back_and_set):
        assert {name: str(error) for name, error in refused.items()} == {
            FORWARDING: f"sysctl {FORWARDING} = 0: Read-only file system",
            FORWARDING6: f"sysctl {FORWARDING6} = 1: Read-only file system",
        }
    assert (sysctl.read(FORWARDING), sysctl.read(FORWARDING6)) == ("1", "0")
    assert sysctl.foreseen({}, planned) == {}
    assert sysctl.read(FORWARDING6) == "0", "to look is no change"
    assert sysctl.enforce({}, planned | {"net.ipv4.vs.none": ("0", "1")}) == {}
    assert sysctl.read(FORWARDING6) == "1"
