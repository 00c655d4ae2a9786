"""Somebody who changes things all the time while vipctl reads them."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness.netns import Namespace

TIMES = 5000  # for longer than a test lasts


@contextmanager
def churn(host: Namespace, commands: Iterable[str]) -> Iterator[None]:
    """Have lines of `ip -batch` carried out over and over on a host."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "lines"
        file.write_text("".join(f"{command}\n" for command in commands) * TIMES)
        argv = ["ip", "netns", "exec", host.name, "ip", "-force", "-batch", str(file)]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
            try:
                yield
                assert process.poll() is None, "it ended too soon"
            finally:
                process.kill()
