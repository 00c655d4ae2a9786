"""Blocks of keepalived.conf: what is read, what is noted, what is wrong."""

from itertools import pairwise

import pytest

from tests.unit.importing import of_keepalived, told
from vipctl.errors import UsageError

CONF = """\
! a director's
global_defs {
    router_id LVS
    lvs_timeouts tcp 900 udp 300
}
vrrp_instance VI_1 {
    notify_master "/etc/keepalived/notify.sh '}' up"
    virtual_ipaddress { 203.0.113.7/32 }
}
$WEB=203.0.113
virtual_server_group edge {
    ${WEB}.7 80
    ${WEB}.10-12 80
    203.0.113.16/28 80
    2001:db8::2-4 80
    fwmark 17
}
@spare virtual_server fwmark 99 {
virtual_server group edge {
    lvs_sched mh
    mh-port
    lvs_method NAT
    protocol TCP
    delay_loop 6
    include servers
}
virtual_server 198.51.100.7 53
{
    lb_algo rr
    ops
    lb_kind TUN
    protocol UDP
    sorry_server 10.0.1.99 53
    real_server 10.0.1.11 53 { lvs_method DR
        weight 3 }
    real_server 10.0.1.12 53 {
        inhibit_on_failure
        DNS_CHECK {
            type A
            name example.com.
        }
    }
}
"""
RIPS = ("10.0.1.11", "10.0.1.12")
SERVERS = "real_server 10.0.1.11 8080 {\n weight 2\n}\nreal_server 10.0.1.12 {\n}\n"


def test_a_configuration() -> None:
    found = of_keepalived(CONF, {"servers": SERVERS})
    mark, dns, web, web6 = found.services
    assert found.director == {"tcp_timeout": 900, "udp_timeout": 300}
    assert (mark[0].name, mark[0].fwmark, str(mark[0].scheduler)) == ("edge", 17, "mh,port")
    assert list(map(str, mark[0].reals)) == ["10.0.1.11:8080,weight=2", "10.0.1.12"]
    assert mark[0].reals == web[0].reals
    assert (web[0].name, web6[0].name) == ("edge-tcp-80", "edge-tcp-80-2")
    assert list(web[1].prefixes()) == [
        *("203.0.113.7/32", "203.0.113.10/31", "203.0.113.12/32", "203.0.113.16/28"),
    ]
    assert list(web6[1].prefixes()) == ["2001:db8::2/127", "2001:db8::4/128"]
    assert (dns[0].name, str(dns[0].scheduler), dns[0].forward) == ("198.51.100.7", "rr,ops", "dr")
    assert list(map(str, dns[0].reals)) == ["10.0.1.11,weight=3", "10.0.1.12,forward=tun"]
    assert {line.split(": ", 1)[1] for line in told(found)} == {
        "@spare: is for a director that keepalived is started for with -i",
        "DNS_CHECK: left out: vipctl's dns wants a record in the answer too; set-service NAME "
        "--check dns:example.com,A,port=53,every=60s,timeout=5s,fall=4,rise=1 comes near",
        "198.51.100.7 udp port 53: sorry_server 10.0.1.99: left out: a fallback has the service's "
        "forwarding method, and no tunnel of its own",
        "inhibit_on_failure of 10.0.1.12: a service has one --dead-after for all: 1 removes those "
        "that fail, 0 removes none",
        *(f"real server {rip}: left out: only a tunnel takes IPv6 clients to it" for rip in RIPS),
        "2001:db8::2-2001:db8::4 tcp port 80: has no real server: vipctl has none in IPVS until "
        "there is one",
    }


# each is a hundred times the one before
GROWING = "$A=x\n" + "".join(f"${b}={f'${{{a}}}' * 100}\n" for a, b in pairwise("ABCDE")) + "$E"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("virtual_server 203.0.113.7 80 {", "conf:1: the block of virtual_server does not end"),
        ("a\n}", "conf:2: unexpected }"),
        ("{", "conf:1: unexpected {"),
        ("virtual_server { }", "conf:1: virtual_server is not complete"),
        ("virtual_server group g { }", "conf:1: there is no virtual_server_group g"),
        ("virtual_server fwmark 0 { }", "conf:1: '0' is not a fwmark"),
        ("virtual_server fwmark { }", "conf:1: fwmark is not complete"),
        ("virtual_server www 80 { }", "conf:1: 'www' is not an IPv4 or IPv6 address"),
        ("virtual_server 203.0.113.7 x { }", "conf:1: 'x' is not a port"),
        ("virtual_server fwmark 1 {\nreal_server x\n}", "conf:2: 'x' is not an IPv4"),
        ("virtual_server fwmark 1 {\nlb_algo\n}", "conf:2: lb_algo is not complete"),
        ("virtual_server fwmark 1 {\nlb_kind LAN\nreal_server 10.0.1.1 { }\n}", "conf:3: 'LAN'"),
        (
            "virtual_server fwmark 1 {\nlvs_method\nreal_server 10.0.1.1 { }\n}",
            "conf:2: lvs_method is",
        ),
        ("global_defs {\nlvs_timeouts tcp x\n}", "conf:2: 'x' is not a timeout"),
        ("include self", "self: includes itself"),
        ("~SEQ(N, 1, 2) real_server 10.0.1.$N", "conf:1: ~SEQ(N, makes several lines"),
        ("$A= \\\n x", "conf:1: $A= makes several lines"),
        (GROWING, "conf:6: parameters make this line longer than 65,536 characters"),
    ],
)
def test_a_configuration_that_is_none(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        of_keepalived(text, {"self": "include self"})
    assert caught.value.message.startswith(said)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("real_server fd00:1::1 { }", 6),
        ("real_server 10.0.1.1 { }", 4),
        ("ip_family inet6\nlb_kind TUN\nreal_server fd00:1::1 { }", 6),
        ("lb_kind TUN\npersistence_granularity 64\nreal_server fd00:1::1 { }", 6),
        ("lb_kind TUN\nreal_server fd00:1::1 { }", 6),
    ],
)
def test_the_family_of_a_fwmark(text: str, version: int) -> None:
    ((service, _),) = of_keepalived(f"virtual_server fwmark 17 {{\n{text}\n}}").services
    assert service.versions() == {version}


def test_a_comment_is_no_part_of_a_parameter() -> None:
    text = "$PORT=80 ! the web {\nvirtual_server 203.0.113.7 ${PORT} {\n protocol TCP\n}\n"
    ((service, _),) = of_keepalived(text).services
    assert [str(port) for port in service.ports] == ["tcp/80"]


def test_each_service_has_a_name_of_its_own() -> None:
    """Of groups whose names differ in what a service's name cannot have."""
    groups = "".join(
        f"virtual_server_group a{sign}b {{\n203.0.113.{n} 80\n}}\n"
        f"virtual_server group a{sign}b {{\nprotocol TCP\nlb_algo {algorithm}\n"
        "real_server 10.0.1.11 80 { }\n}\n"
        for n, (sign, algorithm) in enumerate(zip("+:/,", ["rr", "wrr", "lc", "wlc"], strict=True))
    )
    names = [service.name for service, _ in of_keepalived(groups).services]
    assert names == ["a-b", "a-b-tcp-80", "a-b-tcp-80-2", "a-b-tcp-80-3"]
