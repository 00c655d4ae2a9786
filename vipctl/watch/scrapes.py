"""Answers Prometheus by HTTP, in threads: the daemon's loop goes on meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vipctl.addresses.prefixes import AF, IPAddress, bracketed
from vipctl.errors import Missing
from vipctl.files import Where

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

PATIENCE = 10.0  # seconds that a client may take to ask, or to take the answer
Listener = tuple[IPAddress, int]


@contextmanager
def answered(state_dir: Where, listener: Listener | None) -> Iterator[None]:
    """While it is entered; nobody, where there is no listener. Raises Missing."""
    if listener is None:
        yield
        return
    from threading import Thread

    with _listening(state_dir, *listener) as server:
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _listening(state_dir: Where, address: IPAddress, port: int) -> "WSGIServer":
    from socketserver import TCPServer, ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    from vipctl.operate import exposition

    class Server(ThreadingMixIn, WSGIServer):
        address_family = AF[address.version]
        daemon_threads = True

        def server_bind(self) -> None:
            """Without looking up the host's name, which may take long at boot."""
            TCPServer.server_bind(self)
            self.server_name, self.server_port = str(address), port
            self.setup_environ()

    class Handler(WSGIRequestHandler):
        timeout = PATIENCE

        def log_message(self, *_: object) -> None:
            """Says nothing of each scrape."""

    try:
        server = Server((str(address), port), Handler)
    except OSError as e:
        where = f"{bracketed(address)}:{port}"
        raise Missing(
            f"cannot answer Prometheus at {where}: {e.strerror}", hint="name another --metrics"
        ) from e
    server.set_app(exposition.application(state_dir))
    return server
