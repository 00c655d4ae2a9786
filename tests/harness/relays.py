"""Directors that run `vipctl sync`, each with a certificate of its own."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from tests.harness import synced
from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.harness.waiting import LIMIT, wait_until

DEVICE = "vipctl-sync"


@dataclass
class Director:
    """A host with vipctl's state on it; `certificate` and `key` are files."""

    host: Namespace
    address: str
    directory: Path
    authority: Path
    peers: list[str] = field(default_factory=list)
    patience: float = LIMIT  # seconds
    process: "subprocess.Popen[str] | None" = None

    @property
    def vipctl(self) -> Vipctl:
        return Vipctl(self.host, self.directory / "state")

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def certify(self, authority: trustme.CA, *names: str) -> None:
        made = authority.issue_cert(*(names or [self.address]))
        made.private_key_pem.write_to_path(str(self.directory / "key.pem"))
        with (self.directory / "cert.pem").open("wb") as file:
            for blob in made.cert_chain_pems:
                file.write(blob.bytes())

    @property
    def papers(self) -> list[str]:
        files = [self.authority, self.directory / "cert.pem", self.directory / "key.pem"]
        return [
            word
            for name, file in zip(("ca", "cert", "key"), files, strict=True)
            for word in (f"--tls-{name}", str(file))
        ]

    def start(self, *words: str, security: Sequence[str] | None = None) -> None:
        """Runs until `stop`."""
        peers = [word for peer in self.peers for word in ("--peer", peer)]
        argv = ["ip", "netns", "exec", self.host.name, *self.vipctl.argv, "sync"]
        argv += ["--listen", self.address, *peers, *(security or self.papers), *words]
        with self.log.open("w") as stderr:
            self.process = subprocess.Popen(argv, stderr=stderr, text=True)
        self.wait_for(f"relaying for {DEVICE}")

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        code = self.process.wait(self.patience)
        self.process = None
        return code

    def said(self) -> list[str]:
        return [line.removeprefix("vipctl: ") for line in self.log.read_text().splitlines()]

    def wait_for(self, text: str) -> None:
        wait_until(
            lambda: any(text in line for line in self.said()), f"it says {text!r}", self.patience
        )

    def relay(self) -> dict[str, Any]:
        """What `status` says of it."""
        found: dict[str, Any] = self.vipctl("status")["relay"]
        return found

    def say(self, *messages: bytes) -> None:
        """In the master daemon's place."""
        with self.host, synced.speaking(DEVICE) as mouth:
            for message in messages:
                mouth.send(message)

    @contextmanager
    def hearing(self) -> Iterator[socket.socket]:
        """In the backup daemon's place; the relay knows of it."""
        with self.host:
            ear = synced.hearing(DEVICE)
        with ear:
            wait_until(lambda: bool(self.relay()["heard"]), "the relay knows who hears")
            yield ear
