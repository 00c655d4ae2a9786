"""Which real server stands for all, where it is asked what a firewall does to their packets."""

from vipctl.operate.filtering import first_real
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.services.values import Forward


def test_each_ip_version_has_its_own() -> None:
    service = Service("web", 17, reals=parse_reals(["10.0.1.11", "10.0.1.12", "fd00:1::11"]))
    assert [str(first_real(service, version)) for version in (4, 6)] == ["10.0.1.11", "fd00:1::11"]
    assert first_real(service._replace(method="tproxy"), 4) is None
    assert first_real(service._replace(reals=service.reals[:2]), 6) is None


def test_a_tunnel_takes_both() -> None:
    service = Service("web", 17, forward=Forward.TUN, reals=parse_reals(["10.0.1.11,family=both"]))
    assert first_real(service, 4) is first_real(service, 6) is service.reals[0]
