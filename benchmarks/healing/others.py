"""What daemons of others take away when they start or reload, and for how long it is gone.

Times are those of the kernel's news of vipctl's routes, as `ip monitor` writes them: NetworkManager
takes seconds to start, none of which are vipctl's.
"""

import re
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.daemons import daemons
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns.kills import is_whole
from tests.netns.test_watch import watching

NEWS = re.compile(r"\[([^]]+)\] (Deleted )?.*\btable 30320\b")
MONITOR = ["ip", "-ts", "monitor", "route"]
IPV6 = "2001:db8:1::/64"  # whose routes NetworkManager removes
SETTLED = 1.0  # seconds in which a daemon that has started does the rest
LIMIT = 60.0
Row = tuple[str, float, float]  # of a damage: its name, median and worst milliseconds


def rows(vipctl: Vipctl, log: Path, number: int) -> Iterator[Row]:
    """How long routes were gone, by what was done."""
    vipctl("add-range", IPV6, "--fwmark=17")
    with daemons(vipctl.host) as others:
        others.firewalld("nftables")
        acts = {
            "firewall-cmd --complete-reload": others.reload,
            "NetworkManager, started anew": others.network_manager,
        }
        for name, act in acts.items():
            found = [_gone(vipctl, log, act) for _ in range(number)]
            print(f"{name}: {number} times; {sum(map(bool, found))} took something away")
            yield name, statistics.median(found) * 1e3, max(found) * 1e3


def _gone(vipctl: Vipctl, log: Path, act: Callable[[], None]) -> float:
    """Seconds for which some route was gone; a daemon of its own, which would not fight long."""
    news = log.with_name("news")
    monitor = ["ip", "netns", "exec", vipctl.host.name, *MONITOR]
    with watching(vipctl, log), news.open("w") as stdout, running(monitor, stdout=stdout) as seen:
        act()
        time.sleep(SETTLED)
        wait_until(lambda: is_whole(vipctl), "all is as stored", LIMIT)
        seen.terminate()
    return _missing(news.read_text())


def _missing(news: str) -> float:
    total, since = 0.0, None
    for at, deleted in NEWS.findall(news):
        when = datetime.fromisoformat(at).timestamp()
        if deleted:
            since = since or when
        elif since:
            total, since = total + when - since, None
    return total
