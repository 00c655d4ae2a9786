"""A director that ipvsadm set up, with everything that it can say, becomes one of vipctl's."""

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.servers import ScriptedServer
from tests.harness.traffic import tcp_get
from tests.harness.waiting import wait_until
from tests.vm.observe import ipvs
from tests.vm.test_health import ONE, PATIENCE, PORT, TWO, watching, weights

# Debian's 6.1 has no twos; lblc and lblcr leave sysctls behind.
SCHEDULERS = "rr wrr lc wlc dh sh sed nq fo ovf mh twos"
EVERYTHING = """\
-A -f 17 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -f 17 -r 10.0.1.11:0 -m -w 2 -x 100 -y 50
-a -f 17 -r 10.0.1.12:8080 -m -w 65535 -x 1000
-A -f 17 -6 -s sh -p 300 -M 64 -b sh-fallback,sh-port
-a -f 17 -6 -r [fd00:1::11]:0 -m -w 1
-a -f 17 -6 -r [fd00:1::12]:443 -m -w 1 -x 7 -y 7
-A -f 18 -s mh -b mh-port,mh-fallback
-a -f 18 -r 10.0.1.11 -g -w 3
-a -f 18 -r 10.0.1.12 -i -w 0
-a -f 18 -r 10.0.1.13 -m
-A -f 19 -6 -s rr -o
-a -f 19 -6 -r [fd00:1::11]:0 -g -w 1
-a -f 19 -6 -r [fd00:1::12]:0 -i -w 1
-A -f 20 -s wlc -p 60 --pe sip
-a -f 20 -r 10.0.1.11 -m
-A -f 2147483649 -s fo -p
-a -f 2147483649 -r 10.0.1.11 -i -w 1
"""
BY_ADDRESS = """\
-A -t 203.0.113.7:80 -s rr
-a -t 203.0.113.7:80 -r 10.0.1.11:80 -m -w 1
-A -t 203.0.113.8:80 -s rr
-a -t 203.0.113.8:80 -r 10.0.1.11:80 -m -w 1
"""
SORRY = "10.0.1.99"
CHECKED = f"""\
virtual_server 203.0.113.7 {PORT} {{
    protocol TCP
    lvs_sched rr
    lvs_method NAT
    delay_loop 1
    delay_before_retry 1
    connect_timeout 1
    sorry_server {SORRY} {PORT}
    real_server {ONE} {PORT} {{
        include checkers
    }}
    real_server {TWO} {PORT} {{
        include checkers
    }}
}}
"""
CHECKERS = """\
TCP_CHECK {
}
HTTP_GET {
    url {
        path /health
        status_code 200
        regex "is [a-z]+"
    }
}
"""

PROGRAM = """\
#!/bin/sh
[ "$(id -un)" = nobody ] && [ ! -e "$0.broken" ]
"""


def thresholds(net: Lab) -> list[str]:
    """Return services and real servers with these, in order."""
    listed = net.director.run(["ipvsadm", "-Ln", "--thresholds"]).stdout.splitlines()[3:]
    return [" ".join(line.split()[:4]) for line in listed]


@pytest.mark.parametrize("saved", [False, True])
def test_everything(net: Lab, vipctl: Vipctl, tmp_path: Path, saved: bool) -> None:
    """As it was written, or as ipvsadm says it is, which leaves thresholds out."""
    each = "".join(f"-A -f {n} -s {s}\n-a -f {n} -r 10.0.1.11 -m\n" for n, s in _numbered())
    file = tmp_path / "rules"
    file.write_text(EVERYTHING + each)
    net.director.run(["ipvsadm", "-R"], input=file.read_text())
    before, limits = ipvs(net.director), thresholds(net)
    if saved:
        file.write_text(net.director.run(["ipvsadm", "-Sn"]).stdout)
    net.director.run(["ipvsadm", "-C"])
    printed = vipctl.text("import", "ipvsadm", str(file))
    assert (printed.code, printed.stderr) == (0, "")
    document = tmp_path / "document"
    document.write_text(printed.stdout)
    assert vipctl("apply", str(document))["changed"] is True
    assert ipvs(net.director) == before
    assert (thresholds(net) == limits) is not saved
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("apply", str(document))["changed"] is False


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(SCHEDULERS.split(), 100))


def test_services_by_address_are_served(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    rules, document = tmp_path / "rules", tmp_path / "document"
    rules.write_text(BY_ADDRESS)
    document.write_text(vipctl.text("import", "ipvsadm", str(rules)).stdout)
    assert list(vipctl("apply", str(document))["services"]) == ["203.0.113.7"]
    for vip in ("203.0.113.7", "203.0.113.8"):
        assert tcp_get(net.client, vip, 80).server == "real1"


@contextmanager
def keepalived(net: Lab, conf: Path) -> Iterator[None]:
    files = [f"--{name}={conf}.{name}" for name in ("pid", "checkers_pid")]
    argv = ["keepalived", "--dont-fork", "--log-console", "--check", f"--use-file={conf}", *files]
    with subprocess.Popen(["ip", "netns", "exec", net.director.name, *argv]) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def fail_and_come_back(net: Lab) -> None:
    """One real server after the other fails, then the sorry server serves, then the first again."""
    with web(net, 0) as one, web(net, 1) as two:
        wait_for(net, {ONE, TWO})
        one.close()
        wait_for(net, {TWO})
        two.close()
        wait_for(net, {SORRY})
        with web(net, 0):
            wait_for(net, {ONE})


def web(net: Lab, number: int) -> "closing[ScriptedServer]":
    """It ends connections, for which keepalived waits."""
    return closing(ScriptedServer(net.reals[number], "0.0.0.0", PORT, _answer))


def _answer(connection: socket.socket) -> None:
    if b"\r\n\r\n" in connection.recv(4096):
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nis up\n")


def wait_for(net: Lab, wanted: set[str]) -> None:
    """Until these get clients."""

    def serving() -> set[str]:
        return {address for address, weight in weights(net).items() if weight}

    wait_until(lambda: serving() == wanted, f"{wanted} serve", PATIENCE)


def test_checks_do_what_those_of_keepalived_did(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    conf, document = tmp_path / "keepalived.conf", tmp_path / "document"
    conf.write_text(CHECKED)
    (tmp_path / "checkers").write_text(CHECKERS)
    with keepalived(net, conf):
        fail_and_come_back(net)
    assert ipvs(net.director) == set()
    printed = vipctl.text("import", "keepalived", str(conf))
    assert (printed.code, printed.stderr) == (0, "")
    document.write_text(printed.stdout)
    vipctl("apply", str(document))
    with watching(vipctl, tmp_path / "log"):
        fail_and_come_back(net)
        wait_until(lambda: TWO not in weights(net), "who fails is removed", PATIENCE)


@pytest.fixture
def program() -> Iterator[Path]:
    """Where any user may run it; it passes as nobody alone."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = Path(directory, "program")
        file.write_text(PROGRAM)
        file.chmod(0o755)
        yield file


def break_and_mend(net: Lab, program: Path) -> None:
    broken = program.with_name(f"{program.name}.broken")
    wait_for(net, {ONE, TWO})
    broken.touch()
    wait_for(net, {SORRY})
    broken.unlink()
    wait_for(net, {ONE, TWO})


def test_programs_run_as_script_user_said(
    net: Lab, vipctl: Vipctl, tmp_path: Path, program: Path
) -> None:
    conf, document = tmp_path / "keepalived.conf", tmp_path / "document"
    (tmp_path / "checkers").write_text(f"MISC_CHECK {{\nmisc_path {program}\n}}\n")
    slowly = CHECKED.replace("delay_loop 1", "delay_loop 10")  # so long may a program take
    conf.write_text(f"global_defs {{\nscript_user daemon\n}}\n{slowly}")
    with keepalived(net, conf):
        wait_for(net, {SORRY})
    said = vipctl.text("import", "keepalived", str(conf)).stderr
    assert "vipctl runs programs as nobody, and keepalived runs it as daemon" in said
    conf.write_text(conf.read_text().replace("daemon", "nobody"))
    with keepalived(net, conf):
        break_and_mend(net, program)
    printed = vipctl.text("import", "keepalived", str(conf))
    assert (printed.code, printed.stderr) == (0, "")
    document.write_text(printed.stdout)
    vipctl("apply", str(document))
    with watching(vipctl, tmp_path / "log"):
        break_and_mend(net, program)
