"""What ipvsadm and keepalived have is imported: as services that IPVS would have just so."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.checked import Vipctl
from tests.unit.importing import CHECKERS, blocks_of, of_ipvsadm, of_keepalived, rules_of
from tests.unit.strategies import checks, services
from vipctl.errors import UsageError
from vipctl.linux import ipvs
from vipctl.operate import document, importing
from vipctl.services.checks import Check
from vipctl.services.service import Service
from vipctl.services.values import AllDown, CheckVia, Forward

MARKS = st.sampled_from([1, 17, 0x1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])


@st.composite
def marked(draw: st.DrawFn) -> list[Service]:
    marks = draw(st.lists(MARKS, max_size=3, unique=True))
    found = [draw(services(st.just(f"of-{mark}"), mark)) for mark in marks]
    return [service for service in found if service.reals]


@given(marked())
def test_rules_of_fwmarks(some: list[Service]) -> None:
    found = of_ipvsadm(rules_of(some))
    assert ipvs.desired(s for s, _ in found.services) == ipvs.desired(some)
    assert [s.fwmark for s, _ in found.services] == [s.fwmark for s in some]
    assert not found.notes


def _as_keepalived_asks(check: Check) -> Check:
    """The nearest check that keepalived has too."""
    plain = check.body if "\\" not in check.body else ""
    return check._replace(sni="", verify=check.kind != "https", rise=1, body=plain)


CHECKS = (
    checks()
    .filter(lambda check: check.port > 0 and check.kind in CHECKERS and '"' not in check.what)
    .map(_as_keepalived_asks)
)


@st.composite
def checked(draw: st.DrawFn) -> list[Service]:
    """As keepalived would have them checked."""
    return [draw(_checked(service)) for service in draw(marked())]


@st.composite
def _checked(draw: st.DrawFn, service: Service) -> Service:
    asked = tuple(sorted(draw(st.sets(CHECKS, max_size=2))))
    by_vip = service.forwards() != {Forward.NAT}
    return service._replace(
        checks=asked,
        check_via=CheckVia.RIP if asked and by_vip else CheckVia.AUTO,
        dead_after=draw(st.sampled_from([0, 1])) if asked else 0,
        all_down=AllDown.REFUSE if asked else AllDown.KEEP,
    )


@given(checked())
def test_blocks_of_fwmarks(some: list[Service]) -> None:
    found = of_keepalived(blocks_of(some))
    assert ipvs.desired(s for s, _ in found.services) == ipvs.desired(some)
    assert [_failing(s) for s, _ in found.services] == [_failing(s) for s in some]
    assert not found.notes


def _failing(service: Service) -> tuple[object, ...]:
    return service.checks, service.check_via, service.dead_after, service.all_down


@settings(max_examples=15)
@given(marked())
def test_what_is_printed_is_applied(some: list[Service]) -> None:
    with TemporaryDirectory() as directory:
        rules, printed = Path(directory) / "rules", Path(directory) / "printed"
        rules.write_text(rules_of(some))
        printed.write_text(importing.draft("ipvsadm", rules).text())
        wanted = document.load(printed).services({})
    assert ipvs.desired(s for s, _ in wanted.values()) == ipvs.desired(some)


# whatever there is

WORDS = st.sampled_from(
    [
        *("-A", "-a", "-f", "17", "-6", "-t", "-u", "203.0.113.7:80", "[2001:db8::1]:0", "-p", "'"),
        *("-M", "255.255.255.0", "0", "64", "-r", "10.0.1.1", "-m", "-i", "-g", "-w", "-x", "-o"),
        *("-b", "sh-port", "-s", "sh", "--pe", "sip", "--set", "--tun-type", "gue", "-5", ":", "["),
        *(
            "virtual_server",
            "fwmark",
            "group",
            "virtual_server_group",
            "{",
            "}",
            "real_server",
            "$",
        ),
        *(
            "10.0.1.1",
            "80",
            "lb_algo",
            "lb_kind",
            "NAT",
            "TUN",
            "persistence_timeout",
            "type",
            "@x",
        ),
        *(
            "include",
            "f",
            "weight",
            "protocol",
            "TCP",
            '"',
            "!",
            "\\",
            "203.0.113.1-9",
            "lvs_timeouts",
        ),
        *(
            "persistence_granularity",
            "$A=1",
            "${A}",
            "~SEQ",
            "global_defs",
            "tcp",
            "port",
            "\x00",
            "é",
        ),
    ]
)
LINES = st.sampled_from(
    [
        *("-A -f 17 -s sh", "-A -t 203.0.113.7:80", "-a -t 203.0.113.7:80 -r 10.0.1.1", "-C"),
        *("-a -f 17 -r 10.0.1.1:80 -m", "-A -u [::]:53", "-A -t 0.0.0.0:0 -p", "--set 1 2 x"),
        *("virtual_server fwmark 17 {", "virtual_server 203.0.113.7 80 {", "}", "global_defs {"),
        *("virtual_server_group g {", "virtual_server group g {", "real_server 10.0.1.1 80 {"),
        *("203.0.113.7 80", "203.0.113.1-0 80", "127.0.0.1 80", "203.0.113.0/33", "fwmark 5 inet6"),
        *("lb_kind TUN type gue", "lb_kind NAT", "lb_algo sh", "sh-port", "ops", "protocol foo"),
        *("persistence_timeout", "persistence_granularity 64", "weight x", "lvs_timeouts tcp x"),
        *("TCP_CHECK {", "HTTP_GET {", "SSL_GET {", "UDP_CHECK {", "MISC_CHECK {", "DNS_CHECK {"),
        *(
            "url {",
            "path /",
            "path",
            "status_code 200 x",
            "status_code",
            "regex (",
            "virtualhost -",
        ),
        *("payload 7 x", "require_reply", "misc_path /bin/a", "user nobody", "name .", "name a"),
        *("delay_loop x", "delay_loop 0", "retry -1", "connect_port 0", "connect_timeout"),
        *("sorry_server 10.0.1.1 80", "sorry_server x", "sorry_server_lvs_method TUN type gre"),
        *("inhibit_on_failure", "quorum", "alpha no", "SSL {", "key", "lvs_sync_daemon"),
    ]
)
WORDY = st.lists(WORDS, max_size=8).map(" ".join)
TEXTS = (st.lists(WORDY, max_size=12) | st.lists(LINES, max_size=12)).map("\n".join)


@given(TEXTS)
def test_any_text_is_read_or_said_to_be_wrong(text: str) -> None:
    for read in (of_ipvsadm, lambda found: of_keepalived(found, {"f": found})):
        with suppress(UsageError):
            for service, _ in read(text).services:
                assert service.name


# the command


def test_the_command(vipctl_check: Vipctl, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("-A -f 17 -s rr -p 60\n-a -f 17 -r 10.0.1.11:0 -m -w 2\n-A -f 18\n")
    done = vipctl_check("import", "ipvsadm", str(rules))
    assert done.code == 0
    assert done.stdout.startswith(
        "services:\n  mark-17:\n    ranges: []  # the VIPs whose packets get the fwmark"
    )
    assert done.stderr.startswith(f"warning: {rules}:3: fwmark 18 (IPv4): has no real server")
    found = json.loads(vipctl_check("--json", "import", "ipvsadm", str(rules)).stdout)
    assert found["services"]["mark-17"] == {
        **{"ranges": [], "fwmark": 17, "reals": ["10.0.1.11,weight=2"], "scheduler": "rr"},
        "persistence": 60,
    }
    assert (found["changed"], len(found["left_out"])) == (False, 1)


def test_files_are_included_from_where_they_are_named(vipctl_check: Vipctl, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    main, first = tmp_path / "main.conf", tmp_path / "more" / "1.conf"
    main.write_text("include more/*.conf\ninclude none.conf\n")
    first.write_text(f"include {tmp_path}/more/servers\nvirtual_server fwmark 1 {{ }}\n")
    (tmp_path / "more" / "servers").write_text("virtual_server fwmark 2 {\n")
    code, said = 2, f"{tmp_path}/more/servers:1: the block of virtual_server does not end"
    done = vipctl_check("import", "keepalived", str(main))
    assert (done.code, done.stderr.splitlines()[0]) == (code, f"error: {said}")
    (tmp_path / "more" / "servers").write_text("virtual_server fwmark 2 { }\n")
    found = json.loads(vipctl_check("--json", "import", "keepalived", str(main)).stdout)
    assert list(found["services"]) == ["mark-2", "mark-1"]
    assert f"{main}:2: include none.conf: there is no such file" in found["left_out"]


def test_includes_are_found_as_a_shell_finds_files(vipctl_check: Vipctl, tmp_path: Path) -> None:
    """None of those that begin with a dot; and the directory's own name is no pattern."""
    home = tmp_path / "[a]"
    home.mkdir()
    (home / "main").write_text("include *.conf\ninclude **.conf\ninclude /none/..\n")
    (home / ".1.conf").write_text("virtual_server fwmark 1 { }\n")
    (home / "2.conf").write_text("virtual_server fwmark 2 { }\n")
    found = json.loads(vipctl_check("--json", "import", "keepalived", str(home / "main")).stdout)
    assert list(found["services"]) == ["mark-2"]


def test_many_are_printed_at_once(vipctl_check: Vipctl, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    vips = [f"-A -t 203.{n >> 8}.{n & 255}.1:{80 + n % 2} -s rr" for n in range(10_100)]
    rules.write_text("\n".join(vips))
    done = vipctl_check("import", "ipvsadm", str(rules))
    assert {
        name: len(form["ranges"]) for name, form in json.loads(done.stdout)["services"].items()
    } == {
        "203.0.0.1": 5050,
        "203.0.1.1": 5050,
    }
