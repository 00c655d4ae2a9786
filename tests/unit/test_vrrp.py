"""What keepalived tells of VRRP, line by line."""

import pytest

from vipctl.health.vrrp import Vrrp
from vipctl.services.service import made


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([], ""),
        (['INSTANCE "vipctl_hop4" BACKUP 100'], "BACKUP"),
        (['INSTANCE "vipctl_hop4" BACKUP 100', 'INSTANCE "vipctl_hop4" MASTER 150'], "MASTER"),
        (['INSTANCE "vipctl_hop4" MASTER 150', 'INSTANCE "vipctl_hop4" FAULT 150'], "FAULT"),
        (['INSTANCE "vipctl_hop4" MASTER 150', 'INSTANCE "vipctl_hop4" STOP 150'], "STOP"),
        # What says nothing of the state.
        (
            [
                'INSTANCE "vipctl_hop4" MASTER 150',
                'INSTANCE "vipctl_hop4" MASTER_RX_LOWER_PRI 150',
                'INSTANCE "vipctl_hop4" DELETED 0',
            ],
            "MASTER",
        ),
        # A group has the last word: its instances are on their way.
        (['GROUP "vipctl" BACKUP 0', 'INSTANCE "vipctl_hop4" MASTER 150'], "BACKUP"),
        (['INSTANCE "vipctl_hop4" BACKUP 100', 'GROUP "vipctl" MASTER 0'], "MASTER"),
        # Others' instances, virtual servers, and no line of keepalived's.
        (['INSTANCE "up" MASTER 150', "VS FWM 17 UP", "INSTANCE vipctl MASTER 150"], ""),
        (['INSTANCE "vipctl" MASTER 150; rm', 'xINSTANCE "vipctl" MASTER 150', "\0"], ""),
    ],
)
def test_the_last_line_of_each_name_counts(lines: list[str], state: str) -> None:
    vrrp = Vrrp()
    for line in lines:
        vrrp.hear(line)
    assert vrrp.state == state


@pytest.mark.parametrize(
    ("given", "exclusive"),
    [
        ({}, False),
        ({"method": "route"}, False),
        ({"method": "route", "arp": True}, True),
        ({"method": "tproxy", "to_port": 8080}, True),
        ({"ping": True}, False),
    ],
)
def test_what_one_director_alone_may_serve(given: dict[str, object], *, exclusive: bool) -> None:
    assert made("lan", {"fwmark": 0x1000, **given}).exclusive is exclusive
