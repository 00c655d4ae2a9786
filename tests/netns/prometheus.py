"""A Prometheus on a host of a test, which asks one place twice a second; and promtool."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.harness.netns import Namespace, execute
from tests.harness.running import running
from tests.harness.waiting import wait_until

PORT = 9090
CONFIG = """
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs: [{{job_name: vipctl, static_configs: [{{targets: ["{target}"]}}]}}]
"""
LIMIT = 60.0  # seconds
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


def promtool(*words: str) -> str:
    """Run it; what it says."""
    assert shutil.which("promtool"), "promtool is missing: make test-packages installs it"
    return execute(["promtool", *words]).stdout


class Prometheus:
    """One that runs."""

    def __init__(self, host: Namespace) -> None:
        self.host = host

    def __call__(self, query: str) -> list[dict[str, Any]]:
        """Ask an instant query; the samples that it finds. Raises CommandError if it is wrong."""
        found = self._get(f"query?query={quote(query)}")
        assert found["data"]["resultType"] == "vector"
        samples: list[dict[str, Any]] = found["data"]["result"]
        return samples

    def scraped(self) -> bool:
        """Whether it has had an answer twice."""
        return bool(self("count_over_time(up[1m]) > 1 and up == 1"))

    def _get(self, path: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}"
        found: dict[str, Any] = json.loads(self.host.run(["python3", "-c", GET, url]).stdout)
        return found


@contextmanager
def prometheus(host: Namespace, target: str, directory: Path) -> Iterator[Prometheus]:
    """It runs, and has asked the target."""
    assert shutil.which("prometheus"), "prometheus is missing: make test-packages installs it"
    directory.mkdir()
    config = directory / "prometheus.yml"
    config.write_text(CONFIG.format(target=target))
    argv = ["ip", "netns", "exec", host.name, "prometheus", f"--config.file={config}"]
    argv += [f"--storage.tsdb.path={directory}", f"--web.listen-address=127.0.0.1:{PORT}"]
    with (directory / "log").open("w") as log, running(argv, stderr=log):
        found = Prometheus(host)
        wait_until(lambda: _answers(host), "it answers", LIMIT)
        wait_until(found.scraped, "it has asked", LIMIT)
        yield found


def _answers(host: Namespace) -> bool:
    url = f"http://127.0.0.1:{PORT}/-/ready"
    return host.run(["python3", "-c", GET, url], check=False).returncode == 0
