"""A fallback is looked at as real servers are."""

from ipaddress import ip_address

import pytest

from vipctl.errors import Refused
from vipctl.linux import sysctl
from vipctl.operate import safety
from vipctl.services.real import RealServer
from vipctl.services.service import Service, made
from vipctl.services.values import Forward

RIP = RealServer(ip_address("10.0.1.11"))
SORRY = RealServer(ip_address("10.0.1.99"))


def service(**given: object) -> Service:
    return made("web", {"fwmark": 0x1000, "reals": (RIP,), **given})


def test_a_fallback_that_is_a_vip_is_refused() -> None:
    holder = {SORRY.address: "shop"}.get
    with pytest.raises(Refused, match=r"10\.0\.1\.99 is a VIP of service 'shop'"):
        safety.check_reals(holder, service(), service(fallback=SORRY), force=False)
    safety.check_reals(holder, service(), service(fallback=SORRY), force=True)


def test_a_fallback_on_the_director_needs_nat() -> None:
    here = RealServer(ip_address("127.0.0.1"))
    safety.check_reals(lambda _: None, service(), service(fallback=here), force=False)
    direct = service(forward=Forward.DR)
    with pytest.raises(Refused, match="the director itself"):
        safety.check_reals(lambda _: None, direct, direct._replace(fallback=here), force=False)


def test_a_fallback_has_its_share_in_the_sysctls() -> None:
    direct = RIP._replace(forward="dr")
    assert "net.ipv4.ip_forward" not in sysctl.needed([service(reals=(direct,))])
    assert sysctl.needed([service(reals=(direct,), fallback=SORRY)])["net.ipv4.ip_forward"] == "1"
