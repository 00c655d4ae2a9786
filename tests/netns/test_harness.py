"""The harness itself: hosts, traffic and the counter, on whatever kernel runs here."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ftp
from tests.harness.counter import LocalInCounter
from tests.harness.ftp import FtpServer
from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, Lab, lab
from tests.harness.netns import NAMED, CommandError, Namespace
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import (
    Connection,
    Outcome,
    Reply,
    tcp_get,
    tcp_post,
    udp_ask,
    udp_send,
)
from tests.harness.waiting import wait_until

VIPS = ("203.0.113.0/24", "2001:db8:1::/64")


@pytest.fixture(scope="module")
def net() -> Iterator[Lab]:
    with lab() as built:
        yield built


@pytest.fixture(scope="module", autouse=True)
def _servers(net: Lab) -> Iterator[None]:
    servers = [
        kind(real, bind, 80, f"real{number}")
        for number, real in enumerate(net.reals, 1)
        for bind in ("0.0.0.0", "::")
        for kind in (TcpServer, UdpServer)
    ]
    yield
    for server in servers:
        server.close()


@pytest.mark.parametrize("director", ["10.0.0.1", "fd00::1", "10.0.1.1", "fd00:1::1"])
def test_client_reaches_director(net: Lab, director: str) -> None:
    net.client.run(["ping", "-c1", "-W5", director])


@pytest.mark.parametrize(
    ("dst", "peer", "name"),
    [
        ("10.0.1.11", "10.0.0.2", "real1"),
        ("10.0.1.12", "10.0.0.2", "real2"),
        ("fd00:1::11", "fd00::2", "real1"),
        ("fd00:1::12", "fd00::2", "real2"),
    ],
)
def test_servers_answer_through_the_director(net: Lab, dst: str, peer: str, name: str) -> None:
    assert tcp_get(net.client, dst, 80) == Reply(Outcome.ANSWERED, name, peer, 0)
    assert tcp_post(net.client, dst, 80, 1_000_000).nbytes == 1_000_000
    assert udp_ask(net.client, dst, 80, 4000) == Reply(Outcome.ANSWERED, name, peer, 4000)


def test_traffic_is_forwarded_by_the_director(net: Lab) -> None:
    net.director.run(["nft", "add table inet t"])
    net.director.run(
        ["nft", "add chain inet t c { type filter hook forward priority 0; policy drop; }"]
    )
    try:
        for dst in ("10.0.1.11", "fd00:1::11"):
            assert tcp_get(net.client, dst, 80, timeout=0.3).outcome is Outcome.TIMEOUT
    finally:
        net.director.run(["nft", "delete table inet t"])


@pytest.mark.parametrize(
    ("dst", "sources"), [("10.0.1.11", CLIENT_SOURCES_4), ("fd00:1::11", CLIENT_SOURCES_6)]
)
def test_client_has_many_addresses(net: Lab, dst: str, sources: tuple[str, ...]) -> None:
    assert [tcp_get(net.client, dst, 80, source=source).peer for source in sources] == list(sources)


def test_connection_serves_several_requests(net: Lab) -> None:
    with Connection(net.client, "10.0.1.11", 80) as connection:
        assert [connection.ask(b"x" * n).nbytes for n in (0, 5, 70_000)] == [0, 5, 70_000]


@pytest.mark.parametrize("dst", ["10.0.1.11", "fd00:1::11"])
def test_ftp_in_every_mode(net: Lab, dst: str) -> None:
    server = FtpServer(net.reals[0], "::" if ":" in dst else "0.0.0.0", ftp.PORT, "real1")
    for mode in ftp.modes(dst):
        assert ftp.download(net.client, dst, mode) == ftp.FILE
    server.close()


@pytest.mark.parametrize("dst", ["10.0.1.11", "fd00:1::11"])
def test_closed_ports_refuse(net: Lab, dst: str) -> None:
    assert tcp_get(net.client, dst, 81).outcome is Outcome.REFUSED
    assert udp_ask(net.client, dst, 81).outcome is Outcome.REFUSED


@pytest.mark.parametrize("dst", ["192.0.2.1", "2001:db8:ffff::1"])
def test_unrouted_addresses_are_unreachable(net: Lab, dst: str) -> None:
    assert tcp_get(net.client, dst, 80).outcome is Outcome.UNREACHABLE
    assert udp_ask(net.client, dst, 80).outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize("dst", ["10.0.1.11", "fd00:1::11"])
def test_expired_ttl_is_unreachable(net: Lab, dst: str) -> None:
    assert udp_ask(net.client, dst, 80, ttl=1).outcome is Outcome.UNREACHABLE


def test_silence_is_a_timeout(net: Lab) -> None:
    net.reals[0].run(["nft", "add table ip t"])
    net.reals[0].run(
        ["nft", "add chain ip t c { type filter hook input priority 0; policy drop; }"]
    )
    try:
        assert udp_ask(net.client, "10.0.1.11", 80, timeout=0.3).outcome is Outcome.TIMEOUT
    finally:
        net.reals[0].run(["nft", "delete table ip t"])


def test_vips_on_real_servers_answer_without_the_director() -> None:
    with lab(reals=1) as net:
        real = net.reals[0]
        for bind in ("0.0.0.0", "::"):
            TcpServer(real, bind, 80, "real1")
            UdpServer(real, bind, 80, "real1")
        net.accept_vips(real, *VIPS)
        net.director.ip("route add 203.0.113.0/24 via 10.0.1.11")
        net.director.ip("route add 2001:db8:1::/64 via fd00:1::11")
        counted = ["nft", "list chain inet t c"]
        net.director.run(["nft", "add table inet t"])
        net.director.run(["nft", "add chain inet t c { type filter hook forward priority 0; }"])
        net.director.run(["nft", 'add rule inet t c iif "eth1" counter'])
        for dst in ("203.0.113.77", "2001:db8:1::77"):
            assert tcp_get(net.client, dst, 80).server == "real1"
            assert udp_ask(net.client, dst, 80).server == "real1"
        assert "counter packets 0 " in net.director.run(counted).stdout


def test_counter_sees_what_reaches_local_in(net: Lab) -> None:
    with LocalInCounter(net.director) as counter:
        udp_send(net.client, ["10.0.0.1", "10.0.0.1", "fd00::1", "192.0.2.1"], 9)
        wait_until(lambda: counter.count(0, "fd00::1") >= 1, "the last datagram is counted")
        assert counter.count(0, "10.0.0.1") == 2
        assert counter.count(0, "192.0.2.1") == 0
        counter.reset()
        assert counter.count(0, "10.0.0.1") == 0
    assert "probe" not in net.director.run(["nft", "list", "tables"]).stdout


def test_marks_are_counted_apart(net: Lab) -> None:
    net.director.run(["nft", "add table inet t"])
    net.director.run(["nft", "add chain inet t c { type filter hook prerouting priority mangle; }"])
    net.director.run(["nft", "add rule inet t c udp dport 9 meta mark set 0x11"])
    try:
        with LocalInCounter(net.director) as counter:
            udp_send(net.client, ["10.0.0.1", "fd00::1"], 9)
            wait_until(lambda: counter.count(17, "fd00::1") == 1, "the marked datagram is counted")
            assert counter.count(17, "10.0.0.1") == 1
            assert counter.count(0, "10.0.0.1") == 0
    finally:
        net.director.run(["nft", "delete table inet t"])


def test_entering_nests_and_belongs_to_one_thread(net: Lab) -> None:
    def here() -> str:
        return str(Path("/proc/thread-self/ns/net").readlink())

    home, seen = here(), []
    with net.client:
        client = here()
        with net.director, net.director:
            director = here()
            other = threading.Thread(target=lambda: seen.append(here()))
            other.start()
            other.join()
        assert here() == client
    assert here() == home
    assert len({home, client, director}) == 3
    assert seen == [director], "a thread starts where its parent is"


def test_sysctls_belong_to_the_host(net: Lab) -> None:
    assert net.director.sysctl("net.ipv4.ip_forward") == "1"
    assert net.client.sysctl("net.ipv4.ip_forward") == "0"
    assert net.client.sysctl("net.ipv4.ip_default_ttl", 33) == "33"
    assert net.director.sysctl("net.ipv4.ip_default_ttl") == "64"


def test_failing_commands_say_what_they_printed(net: Lab) -> None:
    with pytest.raises(CommandError, match=r"Cannot find device .*nosuch"):
        net.client.run(["ip", "link", "set", "nosuch", "up"])
    assert net.client.run(["false"], check=False).returncode == 1


def test_open_servers_and_connections_do_not_keep_a_host_alive() -> None:
    watcher, host = Namespace.create("watcher"), Namespace.create("host")
    try:
        host.ip(f"link add here type veth peer name there netns {watcher.name}")
        UdpServer(host, "0.0.0.0", 80, "udp")
        TcpServer(host, "0.0.0.0", 80, "tcp")
        with Connection(host, "127.0.0.1", 80) as connection:
            assert connection.ask().server == "tcp"
            host.close()
        wait_until(lambda: "there" not in watcher.proc_net("dev"), "the kernel removed the host")
    finally:
        host.close()
        watcher.close()


def test_namespaces_and_their_processes_vanish() -> None:
    with lab() as net:
        names = [host.name for host in net.hosts]
        assert all((NAMED / name).exists() for name in names)
        entered = ["ip", "netns", "exec", net.client.name, "sleep", "1000"]
        sleeper = subprocess.Popen(entered)
        wait_until(lambda: net.client.processes() == [sleeper.pid], "sleep is on the client")
    assert sleeper.wait(timeout=10) == -signal.SIGKILL
    assert not [name for name in names if (NAMED / name).exists()]


LONG_RUN = """
import time
from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.netns import Namespace
terminate_like_interrupt()
print(Namespace.create("orphan").name, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_no_namespace(number: signal.Signals) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", LONG_RUN],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with run:
        try:
            assert run.stdout is not None
            namespace = Namespace(run.stdout.readline().strip())
            assert (NAMED / namespace.name).exists()
            run.send_signal(number)
            run.wait(timeout=30)
        finally:
            run.terminate()
    assert not (NAMED / namespace.name).exists()
