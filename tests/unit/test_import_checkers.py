"""keepalived's checkers, and what follows from them: as checks of ours, or named."""

import subprocess
from pathlib import Path

import pytest

from tests.unit.importing import of_keepalived, told
from vipctl.importing.gather import Gathered
from vipctl.operate import document, importing
from vipctl.services.service import Service
from vipctl.services.values import AllDown, CheckVia

PACE = "delay_loop 6\ndelay_before_retry 6"
USUAL = "every=6s,timeout=5s,fall=2,rise=1"
CARRIED = [  # a checker, and the check of ours
    ("TCP_CHECK {\n}", f"tcp:80,{USUAL}"),
    ("TCP_CHECK {\nconnect_port 8080\n}", f"tcp:8080,{USUAL}"),
    ("TCP_CHECK {\nretry 3\nconnect_timeout 2.5\n}", "tcp:80,every=6s,timeout=2.5s,fall=4,rise=1"),
    (
        "TCP_CHECK {\ndelay_loop 20\ndelay_before_retry 20\n}",
        "tcp:80,every=20s,timeout=5s,fall=2,rise=1",
    ),
    ("HTTP_GET {\nurl {\npath /\n}\n}", f"http:/,port=80,status=200-299,{USUAL}"),
    (
        "HTTP_GET {\nhttp_protocol 1.1\nfast_recovery\nurl {\npath /a?b=1,2\nstatus_code 200\n"
        'virtualhost www.example.org\nregex "in, [a-z]{2}"\n}\n}',
        f"http:/a?b=1\\,2,port=80,status=200,body=in\\, [a-z]{{2}},host=www.example.org,{USUAL}",
    ),
    (
        "HTTP_GET {\nvirtualhost a.example\nurl {\npath /\nstatus_code 300-399 200-299 204\n}\n}",
        f"http:/,port=80,host=a.example,{USUAL}",
    ),
    (
        "SSL_GET {\nenable_sni\nurl {\npath /\nvirtualhost b.example\n}\n}",
        f"https:/,port=80,status=200-299,host=b.example,verify=no,{USUAL}",
    ),
    (
        "UDP_CHECK {\npayload Ab12f 3 456\nrequire_reply\n}",
        f"udp:80,send=ab120f034506,{USUAL}",
    ),
    (
        "UDP_CHECK {\npayload 00\nrequire_reply 7069 6e\n}",
        f"udp:80,send=00,expect=70696e,{USUAL}",
    ),
    (
        'MISC_CHECK {\nmisc_path "/usr/bin/true"\nuser nobody nogroup\n}',
        "exec:/usr/bin/true,port=80,every=6s,timeout=6s,fall=1,rise=1",
    ),
    (
        "MISC_CHECK {\nmisc_path /usr/bin/true\nuser nobody\nmisc_timeout 3\nretry 1\n}",
        "exec:/usr/bin/true,port=80,every=6s,timeout=3s,fall=2,rise=1",
    ),
]  # fmt: skip
URL = "url {\npath /\n"
LEFT = [  # a checker, and why there is no check of ours
    (f"HTTP_GET {{\n{URL}digest 9b3a0c85a887a256d6939da88aabd8cd\n}}\n}}", "like its digest"),
    (f"HTTP_GET {{\n{URL}status_code 200 404\n}}\n}}", "status_code 200 404 is not one range"),
    (f'HTTP_GET {{\n{URL}regex "a\\\\d"\n}}\n}}', "vipctl may read its regex a\\\\d otherwise"),
    (f'HTTP_GET {{\n{URL}regex "[[:alpha:]]"\n}}\n}}', "vipctl may read its regex [[:alpha:]]"),
    (f"HTTP_GET {{\n{URL}regex 'a'\n}}\n}}", "vipctl may read its regex 'a' otherwise"),
    (f"HTTP_GET {{\n{URL}regex a\nregex_no_match\n}}\n}}", "nothing like its regex_no_match"),
    (f"HTTP_GET {{\n{URL}virtualhost a:81\n}}\n}}", "'a:81' is not a host's name"),
    ("HTTP_GET {\nurl {\npath a\n}\n}", "'a' is not a path to ask for by http"),
    ("HTTP_GET {\nurl {\nstatus_code 200\n}\n}", "its url has no path"),
    ("HTTP_GET {\n}", "it has no url"),
    (f"HTTP_GET {{\nbindto 10.0.0.1\nconnect_ip 10.0.0.2\n{URL}}}\n}}", "bindto and connect_ip"),
    ("TCP_CHECK {\nfwmark 7\n}", "nothing like its fwmark"),
    ("TCP_CHECK {\ndelay_loop 0.05\n}", "'0.05s' is not a time"),
    ("TCP_CHECK {\nconnect_port x\n}", "'x' is not a port"),
    ("UDP_CHECK {\n}", "sends a payload and wants a reply"),
    ("UDP_CHECK {\npayload 00\nrequire_reply 7x\n}", "'7x' is not bytes"),
    ("UDP_CHECK {\npayload 00\nrequire_reply\nmax_reply_length 9\n}", "like its max_reply_length"),
    ("MISC_CHECK {\nmisc_path /bin/true\n}", "nobody, and neither user nor script_user says so"),
    ("MISC_CHECK {\nmisc_path /bin/a\nuser www-data adm\n}", "runs it as www-data adm; set-serv"),
    ("MISC_CHECK {\nmisc_path /bin/a\nuser\n}", "user is not complete"),
    ('MISC_CHECK {\nmisc_path "/bin/a b"\nuser nobody\n}', "programs without arguments"),
    ("MISC_CHECK {\nmisc_path /bin/a b\nuser nobody\n}", "programs without arguments"),
    ("MISC_CHECK {\nmisc_path /bin/a\nuser nobody\nmisc_dynamic\n}", "its misc_dynamic"),
    ("DNS_CHECK {\nname example.org\n}", "--check dns:example.org,SOA,port=80,every=6s,"),
    ("DNS_CHECK {\n}", "--check dns:NAME,TYPE,port=53 comes near"),
    ("SMTP_CHECK {\n}", "vipctl does not speak SMTP; set-service NAME --check tcp:25"),
    ("PING_CHECK {\n}", "no pings; set-service NAME --check exec:/PROGRAM comes near"),
    ("BFD_CHECK {\nname a\n}", "vipctl speaks no BFD with real servers"),
    ("FILE_CHECK {\ntrack_file a\n}", "vipctl reads no such file"),
]  # fmt: skip
HOSTS = ("10.0.1.11", "10.0.1.12")


def conf(*checkers: str, more: str = "", to: str = "virtual_server 203.0.113.7 80") -> str:
    """Real servers with a checker each, the last one for all that are left."""
    given = [*checkers, checkers[-1]]
    reals = "".join(
        f"real_server {host} 80 {{\n{checker}\n}}\n"
        for host, checker in zip(HOSTS, given, strict=False)
    )
    return f"{to} {{\nprotocol TCP\nlvs_sched rr\nlvs_method NAT\n{PACE}\n{more}\n{reals}}}\n"


def one(found: Gathered) -> Service:
    ((service, _),) = found.services
    return service


@pytest.mark.parametrize(("checker", "check"), CARRIED)
def test_a_checker_as_a_check(checker: str, check: str) -> None:
    found = of_keepalived(conf(checker))
    assert [str(check) for check in one(found).checks] == [check]
    assert not found.notes


@pytest.mark.parametrize(("checker", "why"), LEFT)
def test_a_checker_that_is_left_out(checker: str, why: str) -> None:
    found = of_keepalived(conf(checker))
    assert not one(found).checks
    kind = checker.split(maxsplit=1)[0]
    lines = [line for line in told(found) if f": {kind}: left out: " in line]
    assert len(lines) == len(HOSTS)
    assert all(why in line and "set-service NAME --check " in line for line in lines), lines


PROGRAM = "MISC_CHECK {\nmisc_path /bin/a\n}"
OWNED = PROGRAM.replace("}", "user daemon\n}")


@pytest.mark.parametrize(
    ("given", "checker", "why"),
    [
        ("script_user nobody", PROGRAM, ""),
        ("script_user daemon\nscript_user nobody nogroup", PROGRAM, ""),
        ("script_user daemon", PROGRAM.replace("}", "user nobody\n}"), ""),
        ("script_user daemon", PROGRAM, "nobody, and keepalived runs it as daemon; set-service"),
        ("script_user nobody", OWNED, "nobody, and keepalived runs it as daemon; set-service"),
    ],
)
def test_programs_without_a_user_have_that_of_all(given: str, checker: str, why: str) -> None:
    """Wherever it is said."""
    text = conf(checker)
    for block in (f"global_defs {{\n{given}\n}}\n{text}", f"{text}global_defs {{\n{given}\n}}\n"):
        found = of_keepalived(block)
        assert [check.what for check in one(found).checks] == ([] if why else ["/bin/a"])
        assert len(told(found)) == (len(HOSTS) if why else 0)
        assert all(why in line for line in told(found))


def test_what_comes_near_is_a_check() -> None:
    """Without the words that have no equal; as much of it as there is."""
    urls = 'url {\npath /a\ndigest 0\nregex "x y"\n}\nurl {\npath /b\nregex x\nregex_no_match\n}\n'
    (line, _) = told(of_keepalived(conf(f"HTTP_GET {{\nbindto 10.0.0.1\n{urls}}}")))
    first = f"'http:/a,port=80,status=200-299,body=x y,{USUAL}'"
    second = f"http:/b,port=80,status=200-299,{USUAL}"
    assert line.endswith(f"set-service NAME --check {first} --check {second} comes near")


def test_keepalived_takes_these_checkers(tmp_path: Path) -> None:
    """But programs, at which --config-test of keepalived 2.2.7 ends by a signal."""
    checkers = [checker for checker, _ in CARRIED if not checker.startswith("MISC_CHECK")]
    file = tmp_path / "keepalived.conf"
    file.write_text(conf("\n".join(checkers), more="sorry_server 10.0.1.99 80"))
    asked = ["keepalived", "--config-test", "-f", str(file)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_printed_is_applied(tmp_path: Path) -> None:
    file, printed = tmp_path / "conf", tmp_path / "printed"
    more = "sorry_server 10.0.1.99 8080"
    file.write_text(conf("\n".join(checker for checker, _ in CARRIED), more=more))
    printed.write_text(importing.draft("keepalived", file).text())
    ((service, _),) = document.load(printed).services({}).values()
    assert {str(check) for check in service.checks} == {check for _, check in CARRIED}
    assert (str(service.fallback), service.dead_after) == ("10.0.1.99:8080", 1)


def test_each_url_is_a_check() -> None:
    checker = "HTTP_GET {\nurl {\npath /a\n}\nurl {\npath /b\n}\n}"
    paths = [check.what for check in one(of_keepalived(conf(checker))).checks]
    assert paths == ["/a", "/b"]


def test_defaults_are_those_of_the_real_server_then_of_the_virtual_server() -> None:
    checker = "virtualhost b.example\ndelay_loop 7\nHTTP_GET {\nretry 2\nurl {\npath /\n}\n}"
    more = "virtualhost a.example\nretry 9\nconnect_timeout 3\ndelay_before_retry 7"
    (check,) = one(of_keepalived(conf(checker, more=more))).checks
    assert (check.host, check.every, check.timeout, check.fall) == ("b.example", 7, 3, 3)
    without = "HTTP_GET {\nurl {\npath /\n}\n}"
    (check,) = one(of_keepalived(conf(without, more=more))).checks
    assert (check.host, check.every, check.timeout, check.fall) == ("a.example", 6, 3, 10)


def test_what_keepalived_does_without_being_told() -> None:
    """Once a minute, 5 s, one more time after 1 s."""
    checker = "TCP_CHECK {\n}"
    text = conf(checker).replace(PACE, "")
    found = of_keepalived(text)
    assert str(one(found).checks[0]) == "tcp:80,every=60s,timeout=5s,fall=2,rise=1"
    assert told(found)[0].endswith(
        "delay_before_retry: vipctl asks again after 60s (delay_loop), not 1s, so it finds "
        "failures later; a shorter every= makes up for it"
    )


def test_an_answer_has_no_longer_than_the_next_question() -> None:
    found = of_keepalived(conf("TCP_CHECK {\n}", more="delay_loop 2\ndelay_before_retry 2"))
    assert str(one(found).checks[0]) == "tcp:80,timeout=2s,fall=2,rise=1"
    assert {line.split(": ", 1)[1] for line in told(found)} == {
        "connect_timeout: vipctl waits 2s at most (delay_loop), not 5s; with a longer every= it can"
    }


# real servers that differ


def test_a_check_that_only_some_real_servers_have_is_named() -> None:
    found = of_keepalived(conf("TCP_CHECK {\n}\nTCP_CHECK {\nconnect_port 22\n}", "TCP_CHECK {\n}"))
    assert [str(check) for check in one(found).checks] == [f"tcp:80,{USUAL}"]
    (line,) = told(found)
    assert "TCP_CHECK of 10.0.1.11: left out: other real servers have it otherwise or not" in line
    assert line.endswith(f"set-service NAME --check tcp:22,{USUAL}")


def test_a_real_server_without_checks_leaves_none_to_all() -> None:
    found = of_keepalived(conf("TCP_CHECK {\n}", ""))
    assert not one(found).checks
    assert len(told(found)) == 1


def test_real_servers_with_ports_of_their_own_are_asked_there() -> None:
    text = conf("TCP_CHECK {\n}").replace("10.0.1.12 80", "10.0.1.12 8080")
    found = of_keepalived(text)
    assert [str(check) for check in one(found).checks] == [f"tcp,{USUAL}"]
    assert [str(real) for real in one(found).reals] == ["10.0.1.11:80", "10.0.1.12:8080"]
    assert not found.notes


def test_without_nat_there_is_one_port() -> None:
    text = conf("TCP_CHECK {\n}").replace("10.0.1.12 80", "10.0.1.12 8080").replace("NAT", "DR")
    found = of_keepalived(text)
    assert not one(found).checks
    assert [line.split(": ")[1] for line in told(found)] == [f"TCP_CHECK of {h}" for h in HOSTS]


def test_nobody_tells_the_port() -> None:
    text = conf("TCP_CHECK {\n}", to="virtual_server fwmark 7").replace("10.0.1.11 80", "10.0.1.11")
    (line, *_) = told(of_keepalived(text))
    assert "TCP_CHECK: left out: neither connect_port nor real_server names a port" in line


def test_services_whose_checks_differ_stay_apart() -> None:
    """One port of a real server may fail alone."""
    web, tls = conf("TCP_CHECK {\n}"), conf("TCP_CHECK {\n}").replace(" 80 {", " 443 {")
    found = of_keepalived(web + tls)
    checks = {str(s.ports[0]): str(s.checks[0]) for s, _ in found.services}
    assert checks == {"tcp/80": f"tcp:80,{USUAL}", "tcp/443": f"tcp:443,{USUAL}"}
    same = conf("TCP_CHECK {\nconnect_port 9\n}")
    assert len(of_keepalived(same + same.replace(" 80 {", " 443 {")).services) == 1


# what follows


def test_a_real_server_that_fails_is_removed_or_inhibited() -> None:
    checker = "TCP_CHECK {\n}"
    assert one(of_keepalived(conf(checker))).dead_after == 1
    assert one(of_keepalived(conf(checker, more="inhibit_on_failure"))).dead_after == 0
    own = f"{checker}\ninhibit_on_failure"
    assert one(of_keepalived(conf(own))).dead_after == 0
    assert one(of_keepalived(conf(f"{own} no", more="inhibit_on_failure"))).dead_after == 1
    some = of_keepalived(conf(own, checker))
    assert one(some).dead_after == 1
    assert "inhibit_on_failure of 10.0.1.11: a service has one --dead-after" in told(some)[0]
    assert one(of_keepalived(conf(""))).dead_after == 0


def test_while_all_fail_clients_are_refused_or_get_the_sorry_server() -> None:
    checker = "TCP_CHECK {\n}"
    service = one(of_keepalived(conf(checker)))
    assert (service.all_down, service.fallback) == (AllDown.REFUSE, None)
    found = of_keepalived(conf(checker, more="sorry_server 10.0.1.99\nsorry_server_inhibit"))
    assert one(found).when_all_down() is AllDown.FALLBACK
    assert str(one(found).fallback) == "10.0.1.99"
    assert not found.notes
    assert one(of_keepalived(conf(""))).all_down is AllDown.KEEP


@pytest.mark.parametrize(
    ("sorry", "why"),
    [
        ("sorry_server 10.0.1.11 80", "sorry_server 10.0.1.11: left out: it is one of the real"),
        ("sorry_server fd00:1::99", "sorry_server fd00:1::99: left out: only a tunnel"),
        ("sorry_server 127.0.0.1 80", "sorry_server 127.0.0.1: left out: real server 127.0.0.1"),
        (
            "sorry_server 10.0.1.99\nsorry_server_lvs_method DR",
            "sorry_server 10.0.1.99: left out: a fallback has the service's forwarding method",
        ),
    ],
)
def test_a_sorry_server_that_is_left_out(sorry: str, why: str) -> None:
    found = of_keepalived(conf("TCP_CHECK {\n}", more=sorry))
    assert (one(found).fallback, one(found).all_down) == (None, AllDown.REFUSE)
    assert [line for line in told(found) if why in line]


@pytest.mark.parametrize("method", ["NAT", "DR", "TUN"])
def test_checks_ask_at_the_real_server(method: str) -> None:
    service = one(of_keepalived(conf("TCP_CHECK {\n}").replace("NAT", method)))
    assert not any(map(service.checked_by_vip, service.reals))
    assert (service.check_via is CheckVia.RIP) is (method != "NAT")


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("alpha", "vipctl leaves real servers their weights until it has judged them"),
        ("omega", "vipctl runs no program when vipctl watch ends"),
        ("warmup 3", "vipctl watch spreads its questions by itself"),
        ("ha_suspend", "vipctl watch asks wherever it runs"),
        ("quorum 2", "vipctl lets the real servers that work serve, until none does"),
        ("hysteresis 2", "vipctl lets the real servers that work serve, until none does"),
        ("quorum_down /bin/true", "vipctl runs no program then; vipctl watch says so"),
        ("smtp_alert", "vipctl sends no mail; vipctl watch says so"),
        ("snmp_name a", "vipctl speaks no SNMP; vipctl metrics has numbers for Prometheus"),
    ],
)
def test_what_has_no_equal_is_named(word: str, why: str) -> None:
    (line,) = told(of_keepalived(conf("TCP_CHECK {\n}", more=word)))
    assert f": {word.split(maxsplit=1)[0]}: {why}" in line


def test_words_of_checkers_that_have_no_equal_are_named() -> None:
    found = of_keepalived(conf("TCP_CHECK {\nwarmup 3\nalpha\nlog_all_failures\n}"))
    assert one(found).checks
    assert {line.split(": ")[1] for line in told(found)} == {"warmup", "alpha", "log_all_failures"}


@pytest.mark.parametrize("word", ["quorum 1", "hysteresis 0", "alpha no", "smtp_alert off"])
def test_nothing_is_said_where_nothing_is_lost(word: str) -> None:
    assert not told(of_keepalived(conf("TCP_CHECK {\n}", more=word)))


def test_what_is_for_all_virtual_servers_is_named() -> None:
    text = "global_defs {\nlvs_sync_daemon eth1 VI_1 id 7\n}\nSSL {\ncertificate /c\nkey /k\n}\n"
    sync, shown = told(of_keepalived(text))
    assert sync.endswith("on each director: vipctl set-sync --interface eth1 --id 7")
    assert "key: vipctl shows real servers no certificate" in shown


# both halves of a fwmark


def test_halves_that_are_checked_alike_are_one_service() -> None:
    four = conf("TCP_CHECK {\n}", to="virtual_server fwmark 7")
    six = four.replace("10.0.1.", "fd00:1::")
    found = of_keepalived(four + six)
    assert (len(one(found).reals), len(one(found).checks), told(found)) == (4, 1, [])


def test_halves_that_are_checked_otherwise_have_the_checks_of_both() -> None:
    four = conf("TCP_CHECK {\n}\nTCP_CHECK {\nconnect_port 9\n}", to="virtual_server fwmark 7")
    six = conf(
        "TCP_CHECK {\n}",
        to="virtual_server fwmark 7",
        more="inhibit_on_failure\nsorry_server fd00:1::99",
    ).replace("10.0.1.", "fd00:1::")
    found = of_keepalived(four + six)
    assert [str(check) for check in one(found).checks] == [f"tcp:80,{USUAL}"]
    assert (one(found).fallback, one(found).dead_after) == (None, 1)
    assert [line.split(": ")[2] for line in told(found)] == [
        *("sorry_server", "inhibit_on_failure", "checks")
    ]
