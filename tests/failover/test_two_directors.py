"""The set-ups of examples/two-directors/, as they stand, and what becomes of each failure."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.failover.clients import FLOWS, HELD, INTERVAL, Flows, Held, Stream
from tests.failover.pairs import VIPCTL
from tests.failover.site import DIRECT, EXAMPLES, PATIENCE, Director, Site, end
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer
from tests.harness.traffic import tcp_get
from tests.harness.waiting import wait_until
from tests.vm.observe import ipvs

NAT_VIPS, DIRECT_VIPS = ("203.0.113.7", "2001:db8:1::7"), ("198.51.100.7", "2001:db8:2::7")
SKEW = 0.61  # seconds of VRRP, after which a backup of priority 100 is the master
BFD = 1.0  # seconds, and less, without a word
DEAD = 3.0  # seconds without a word, one a second, after which a master is taken for dead
SLACK = 1.0
chosen, has_all = VIPCTL.chosen, VIPCTL.has_all


@contextmanager
def traffic(here: Site, vips: tuple[str, ...]) -> Iterator[tuple[Stream, Held, Flows]]:
    stream, flows = Stream(here.client, vips), Flows(here.client, vips)
    held = Held(here.client, vips)
    stream.start()
    flows.start()
    try:
        yield stream, held, flows
    finally:
        stream.end()
        flows.end()
        held.close()


def test_active_and_passive_by_vrrp(here: Site) -> None:
    one, two = here.directors
    here.by_next_hop()
    here.set_up("vrrp", "primary", "backup")
    for director in here.directors:
        director.watch()
        director.keepalived()
    chosen(one, two)
    vips = NAT_VIPS + DIRECT_VIPS
    lost, kept = dict[str, dict[str, int]](), dict[str, int]()
    with traffic(here, vips) as (stream, held, flows):
        assert held.living() == HELD
        assert flows.kept() == FLOWS
        wait_until(lambda: two.connections() >= HELD, "the other director knows all", PATIENCE)
        for name, act in VRRP.items():
            lost[name] = stream.during(lambda act=act: act(one, two))  # type: ignore[misc]
            kept[name] = flows.kept()
        assert held.living() == HELD
        lost["power off"] = stream.during(lambda: off(one, two))
        kept["power off"] = flows.kept()
        assert held.living() >= HELD - 1
        lost["power on"] = stream.during(lambda: VIPCTL.power_on(one, two))
        kept["power on"] = flows.kept()
        assert held.living() >= HELD - 1
        assert_kept(flows, kept)
    assert_only_power_costs(lost, DEAD + SKEW)


def test_sync_alone_keeps_what_has_traffic(here: Site) -> None:
    """`rr` would choose anew for a connection that a director does not know."""
    one, two = here.directors
    here.by_next_hop()
    here.set_up("vrrp", "primary", "backup")
    for director in here.directors:
        for service in ("shop", "video"):
            director.run("vipctl", "set-service", service, "--scheduler", "rr")
        director.watch()
        director.keepalived()
    chosen(one, two)
    vips, kept = NAT_VIPS + DIRECT_VIPS, {}
    with traffic(here, vips) as (stream, held, flows):
        assert held.living() == HELD
        known = HELD + FLOWS + len(vips)
        wait_until(lambda: two.connections() >= known, "the other director knows all", PATIENCE)
        stream.during(lambda: off(one, two))
        kept["power off"] = flows.kept()
        assert held.living() >= HELD - 1
        stream.during(lambda: VIPCTL.power_on(one, two))
        kept["power on"] = flows.kept()
        assert_kept(flows, kept)


def assert_kept(flows: Flows, kept: dict[str, int]) -> None:
    """Each UDP flow has the real server that it had at first, and not all have the same."""
    print(kept)
    assert set(kept.values()) == {FLOWS}
    assert len(flows.servers()) > 1


def assert_only_power_costs(lost: dict[str, dict[str, int]], seconds: float) -> None:
    """As long as others need to notice it."""
    print(lost)
    for number in lost.pop("power off").values():
        assert number * INTERVAL < seconds + SLACK
    assert not any(number for found in lost.values() for number in found.values())


def reload(one: Director, two: Director) -> None:
    one.signal("keepalived", signal.SIGHUP)
    time.sleep(3)
    chosen(one, two)


def terminate(one: Director, two: Director) -> None:
    one.end("keepalived", signal.SIGTERM)
    chosen(two, one)
    one.keepalived()
    chosen(one, two)


def kill(one: Director, two: Director) -> None:
    """Its addresses stay, and both directors have them."""
    one.end("keepalived", signal.SIGKILL)
    wait_until(lambda: has_all(two) and has_all(one), "both have the addresses", PATIENCE)
    one.keepalived()
    chosen(one, two)


def lose_watch(one: Director, two: Director) -> None:
    one.signal("watch", signal.SIGKILL)
    chosen(two, one)
    one.watch()
    chosen(one, two)


def hang_watch(one: Director, two: Director) -> None:
    one.signal("watch", signal.SIGSTOP)
    time.sleep(5)
    one.signal("watch", signal.SIGCONT)
    chosen(one, two)


def part(one: Director, two: Director) -> None:
    """Both are masters, and both serve."""
    two.run("nft", "-f", str(Path(__file__).with_name("deaf.nft")))
    wait_until(lambda: has_all(one) and has_all(two), "both are masters", PATIENCE)
    time.sleep(5)


def join(one: Director, two: Director) -> None:
    two.run("nft", "delete", "table", "inet", "deaf")
    chosen(one, two)


def off(one: Director, two: Director) -> None:
    one.power_off()
    wait_until(lambda: has_all(two), "the other director is the master", PATIENCE)


VRRP = {
    "keepalived reloaded": reload,
    "keepalived stopped and started": terminate,
    "keepalived killed and started": kill,
    "vipctl watch killed and started": lose_watch,
    "vipctl watch hangs": hang_watch,
    "neither director hears the other": part,
    "they hear each other again": join,
}


def hops(router: Namespace, prefix: str) -> int:
    """Over how many directors the router spreads what is for a prefix."""
    version = "-6" if ":" in prefix else "-4"
    found = router.run(["ip", version, "-json", "route", "show", prefix, "proto", "bird"]).stdout
    return sum(len(route.get("nexthops", [route])) for route in json.loads(found or "[]"))


def spread(here: Site, number: int) -> None:
    wait_until(
        lambda: [hops(here.router, prefix) for prefix in DIRECT] == [number] * 2,
        f"the router has routes to {number} directors",
        PATIENCE,
    )


def test_all_active_by_bgp(here: Site, tmp_path: Path) -> None:
    one = here.directors[0]
    here.set_up("bgp")
    for director in here.directors:
        director.watch()
        director.bird()
    with routing(here.router, tmp_path):
        spread(here, 2)
        with traffic(here, DIRECT_VIPS) as (stream, held, flows):
            assert held.living() == HELD
            assert flows.kept() == FLOWS
            lost, living, kept = {}, {}, {}
            for name, act in BGP.items():
                lost[name] = stream.during(lambda act=act: act(here, one))  # type: ignore[misc]
                living[name], kept[name] = held.living(), flows.kept()
            assert_kept(flows, kept)
    assert min(living.values()) >= HELD - 1
    assert_only_power_costs(lost, BFD)


@contextmanager
def routing(router: Namespace, scratch: Path) -> Iterator[None]:
    words = ["-f", "-c", str(EXAMPLES / "bgp" / "router.conf"), "-s", str(scratch / "router.ctl")]
    with router:
        process = subprocess.Popen(["bird", *words], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        end(process)


def kill_bird(here: Site, one: Director) -> None:
    one.end("bird", signal.SIGKILL)
    spread(here, 1)
    one.bird()
    spread(here, 2)


def withdraw(here: Site, one: Director) -> None:
    one.signal("watch", signal.SIGKILL)
    spread(here, 1)
    one.watch()
    spread(here, 2)


def lose_power(here: Site, one: Director) -> None:
    one.power_off()
    spread(here, 1)


def return_to_routers(here: Site, one: Director) -> None:
    one.boot()
    one.run("vipctl", "restore")
    one.watch()
    one.bird()
    spread(here, 2)


BGP = {
    "BIRD killed and started": kill_bird,
    "vipctl watch killed and started": withdraw,
    "power off": lose_power,
    "power on": return_to_routers,
}


def test_real_servers_are_keepaliveds(here: Site) -> None:
    """vipctl accepts; virtual services and their checks are of keepalived's configuration."""
    one, two = here.directors
    here.by_next_hop()
    here.set_up("acceptance", "primary", "backup")
    for director in here.directors:
        director.keepalived()

    def master(director: Director) -> bool:
        return {"10.0.0.100/24", "10.0.1.100/24"} <= director.addresses()

    wait_until(lambda: master(one) and not master(two), "the primary is the master", PATIENCE)
    wait_until(lambda: len(ipvs(one.host)) == 1 + len(here.reals), "all are checked", PATIENCE)
    assert answering(here) == {"real1", "real2", "real3"}
    here.web4[1].close()
    wait_until(lambda: len(ipvs(one.host)) == len(here.reals), "it is found out", PATIENCE)
    assert answering(here) == {"real1", "real3"}
    here.web4[1] = TcpServer(here.reals[1], "0.0.0.0", 80, "real2")
    wait_until(lambda: len(ipvs(one.host)) == 1 + len(here.reals), "it is back", PATIENCE)
    stream = Stream(here.client, NAT_VIPS[:1])
    stream.start()
    try:
        lost = stream.during(lambda: stop_keepalived(one, lambda: master(two)))
    finally:
        stream.end()
    # keepalived takes its virtual services away before the other one is the master.
    assert lost[NAT_VIPS[0]] * INTERVAL < SKEW + SLACK
    assert answering(here) == {"real1", "real2", "real3"}


def stop_keepalived(one: Director, elsewhere: Callable[[], bool]) -> None:
    one.end("keepalived", signal.SIGTERM)
    wait_until(elsewhere, "the other director is the master", PATIENCE)


def answering(here: Site) -> set[str]:
    """Who answers 30 clients of different VIPs: all are answered."""
    replies = [tcp_get(here.client, f"203.0.113.{n}", 80) for n in range(30)]
    return {reply.server or reply.outcome.value for reply in replies}
