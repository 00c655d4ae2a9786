"""Ports of source NAT: how many there are, how many are in use, and when that is said."""

from ipaddress import ip_address

from vipctl.operate import translation
from vipctl.operate.outcome import Report
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import AUTO

ONE, TWO, SIX = (RealServer(ip_address(a)) for a in ("10.0.1.11", "10.0.1.12", "fd00:1::11"))
WEB = Service("web", 0x1000, reals=(ONE, TWO, SIX), source_nat=(AUTO,))


def counted(**active: int) -> Report:
    """What IPVS says of a service of IPv4, whose inactive connections are as many."""
    names = {"one": ONE.endpoint, "two": TWO.endpoint}
    reals = {names[n]: {"active": count, "inactive": count} for n, count in active.items()}
    return {"ipv4": {"reals": reals}}


def test_each_real_server_has_its_ports() -> None:
    found = translation.used([WEB], {0x1000: counted(one=3, two=0)})
    assert found["web"] == {
        "10.0.1.11": {"used": 6, "ports": 64512},
        "10.0.1.12": {"used": 0, "ports": 64512},
        "fd00:1::11": {"used": 0, "ports": 64512},
    }
    assert not list(translation.warnings(found))


def test_addresses_of_one_ip_version_leave_the_other_alone() -> None:
    named = WEB._replace(source_nat=(ip_address("10.0.1.2"), ip_address("10.0.1.3")))
    found = translation.used([named], {})
    assert {endpoint: n["ports"] for endpoint, n in found["web"].items()} == {
        "10.0.1.11": 129024,
        "10.0.1.12": 129024,
    }


def test_services_share_the_ports_toward_a_real_server() -> None:
    other = WEB._replace(name="other", fwmark=0x1001)
    counts = {0x1000: counted(one=13000), 0x1001: counted(one=13000), 0x1002: counted(one=60000)}
    third = WEB._replace(name="third", fwmark=0x1002, source_nat=())
    found = translation.used([WEB, other, third], counts)
    assert found.keys() == {"web", "other"}
    assert found["web"]["10.0.1.11"]["used"] == 52000
    (text, _) = translation.warnings(found)
    assert "'web': source NAT has 52,000 of 64,512 ports in use" in text
    assert "10.0.1.11" in text
