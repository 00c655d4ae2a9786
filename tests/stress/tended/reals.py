"""Real servers as processes, which die and hang."""

import signal
import subprocess
from pathlib import Path

from tests.harness.netns import Namespace


class Real:
    """A web server of one host."""

    def __init__(self, host: Namespace, directory: Path) -> None:
        self.host, self.directory = host, directory
        self.process: subprocess.Popen[bytes] | None = None
        self.works = False
        (directory / "index.html").write_text("hello\n")

    def start(self) -> None:
        """Serve, whatever it did before."""
        self.kill()
        words = ["busybox", "httpd", "-f", "-p", "80", "-h", str(self.directory)]
        self.process = subprocess.Popen(["ip", "netns", "exec", self.host.name, *words])
        self.works = True

    def hang(self) -> None:
        """Accept connections, as the kernel does that, and never answer."""
        if self.process:
            self.process.send_signal(signal.SIGSTOP)
        self.works = False

    def kill(self) -> None:
        """Be gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process, self.works = None, False
