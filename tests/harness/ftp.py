"""FTP, of which IPVS changes the addresses that it names: a server and a client."""

import ftplib
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer
from tests.harness.traffic import TIME_LIMIT

PORT, DATA_PORT = 21, 20
FILE = bytes(range(256)) * 400
MODES = ("PASV", "EPSV", "PORT", "EPRT")
NUMBERS = re.compile(r"\d+")


class FtpServer(TcpServer):
    """Sends the same file, whatever is asked for; of `passive` ports, if there are any named."""

    passive = range(1)

    def _converse(self, connection: socket.socket, _peer: str) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:
            transfer: Callable[[], socket.socket] | None = None
            stream.write(b"220 ready\r\n")
            stream.flush()
            while line := stream.readline():
                verb, _, words = line.decode().strip().partition(" ")
                answer = "200 done"
                if verb in ("PASV", "EPSV"):
                    transfer, answer = self._await(connection, verb)
                elif verb in ("PORT", "EPRT"):
                    transfer = partial(self._open, connection, *_named(verb, words))
                elif verb == "RETR" and transfer:
                    stream.write(b"150 here it comes\r\n")
                    stream.flush()
                    with transfer() as data:
                        data.sendall(FILE)
                    answer = "226 done"
                elif verb == "USER":
                    answer = "230 welcome"
                stream.write(f"{answer}\r\n".encode())
                stream.flush()
        self.connections.discard(connection)

    def _await(
        self, connection: socket.socket, verb: str
    ) -> tuple[Callable[[], socket.socket], str]:
        """Listen where the client is to connect to, and say where that is."""
        here = connection.getsockname()[0]
        listener = self._listener(connection.family, here)
        listener.listen()
        port = listener.getsockname()[1]
        numbers = ",".join([*here.split("."), str(port >> 8), str(port & 255)])
        said = f"227 there ({numbers})" if verb == "PASV" else f"229 there (|||{port}|)"
        return partial(_accepted, listener), said

    def _listener(self, af: int, here: str) -> socket.socket:
        listener = self._socket(af)
        for port in self.passive:
            with suppress(OSError):
                listener.bind((here, port))
                return listener
        raise OSError("no passive port is free")

    def _open(self, connection: socket.socket, host: str, port: int) -> socket.socket:
        """Connect to where the client listens."""
        data = self._socket(connection.family)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        data.bind((connection.getsockname()[0], DATA_PORT))
        data.connect((host, port))
        return data

    def _socket(self, af: int) -> socket.socket:
        with self.ns:
            made = socket.socket(af, socket.SOCK_STREAM)
        made.settimeout(TIME_LIMIT)
        return made


def _accepted(listener: socket.socket) -> socket.socket:
    with listener:
        return listener.accept()[0]


def _named(verb: str, words: str) -> tuple[str, int]:
    if verb == "PORT":
        *host, high, low = NUMBERS.findall(words)
        return ".".join(host), int(high) << 8 | int(low)
    _, address, number = words.strip("|").split("|")
    return address, int(number)


class _Client(ftplib.FTP):
    """Believes the server's address, and has a mode for both IP versions."""

    trust_server_pasv_ipv4_address = True
    mode = "PASV"

    def makepasv(self) -> tuple[str, int]:
        if self.mode == "PASV":
            return super().makepasv()
        peer = self.sock.getpeername()  # type: ignore[union-attr]
        return ftplib.parse229(self.sendcmd("EPSV"), peer)

    def sendport(self, host: str, port: int) -> str:
        if self.mode == "PORT":
            return super().sendport(host, port)
        return self.sendeprt(host, port)


def download(
    client: Namespace, vip: str, mode: str, timeout: float = TIME_LIMIT, port: int = PORT
) -> bytes:
    """Get the file; raise OSError, EOFError or ftplib.Error if that fails."""
    parts: list[bytes] = []
    with client, _Client(timeout=timeout) as ftp:
        ftp.mode = mode
        ftp.set_pasv(mode in ("PASV", "EPSV"))
        ftp.connect(vip, port)
        ftp.login()
        ftp.retrbinary("RETR file", parts.append)
    return b"".join(parts)


def modes(vip: str) -> tuple[str, ...]:
    """Return the modes that there are for an IP version."""
    return MODES if family(vip) == socket.AF_INET else ("EPSV", "EPRT")
