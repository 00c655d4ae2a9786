"""Somebody who changes things all the time while vipctl reads them."""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.harness.netns import Namespace


@contextmanager
def churn(host: Namespace, commands: Iterable[str]) -> Iterator[None]:
    """Have lines of `ip -batch` carried out over and over on a host."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "lines"
        file.write_text("".join(f"{command}\n" for command in commands) * 100)
        again = f"while :; do ip -force -batch {file} 2>/dev/null; done"
        argv = ["ip", "netns", "exec", host.name, "timeout", "120", "sh", "-c", again]
        with subprocess.Popen(argv, start_new_session=True) as process:
            try:
                yield
                assert process.poll() is None, "it ended too soon"
            finally:
                os.killpg(process.pid, signal.SIGKILL)
