"""nginx on a host, as Debian has it: it answers, fails, hangs, ends, and shows a certificate."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import trustme

from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until

CONFIGURATION = """
daemon off;
user root;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log {directory}/access.log;
  keepalive_timeout 0;
  server {{
    listen {port};
    listen [::]:{port};
    {answer}
  }}
{encrypted}}}
"""
ENCRYPTED = """  server {{
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name {server};
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    {answer}
  }}
"""
ANSWER = 'location / {{ if (-f {flag}) {{ return 500; }} return 200 "{name}"; }}'
HEALTH = "/health"  # what checks ask for, so that the log tells them from clients
LIMIT = 60.0  # seconds; a guest needs some of them


class Nginx:
    """A master with a worker, in a session of their own; says its name."""

    def __init__(self, host: Namespace, directory: Path, name: str, port: int = 80) -> None:
        self.host, self.name, self.port = host, name, port
        self._home = directory / name
        self._home.mkdir()
        self._flag, self._log = self._home / "fails", self._home / "access.log"
        self._certificates: Mapping[str, trustme.LeafCert] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, certificates: Mapping[str, trustme.LeafCert] | None = None) -> None:
        """Serve; by TLS too, if there are certificates: each by the name that clients ask for."""
        file = self._configure(certificates or {})
        argv = ["ip", "netns", "exec", self.host.name, "nginx", "-c", str(file)]
        self._process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until(self._listens, f"{self.name} listens", LIMIT)

    def _configure(self, certificates: Mapping[str, trustme.LeafCert]) -> Path:
        answer = ANSWER.format(flag=self._flag, name=self.name)
        encrypted = []
        for server, certificate in certificates.items():
            pem = self._home / f"{server}.pem"
            certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
            encrypted.append(ENCRYPTED.format(server=server, certificate=pem, answer=answer))
        file = self._home / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                directory=self._home, port=self.port, answer=answer, encrypted="".join(encrypted)
            )
        )
        return file

    def _listens(self) -> bool:
        with self.host, socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def fail(self) -> None:
        """Answer with status 500."""
        self._flag.touch()

    def work(self) -> None:
        """No longer."""
        self._flag.unlink()

    def hang(self) -> None:
        """Stop, as a debugger does: the kernel still accepts connections."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Die at once."""
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def asked(self) -> int:
        """How often checks have been answered."""
        return self._log.read_text().count(f"GET {HEALTH} ") if self._log.exists() else 0

    def _signal(self, number: int) -> None:
        if self._process:
            os.killpg(self._process.pid, number)
