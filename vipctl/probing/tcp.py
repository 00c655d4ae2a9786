"""Check tcp: a connection is accepted. It is the kernel that accepts, also for a hung program.

Most directors ask little else, so many of these are asked together: at a third of the cost.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from vipctl.probing.asking import Asking, connected, connecting, refused

PASSES = "accepts connections"
Tell = Callable[[Asking, Exception | None], None]


async def ask(asking: Asking) -> str:
    async with connected(asking):
        return PASSES


async def ask_all(askings: Iterable[Asking], timeout: float, tell: Tell) -> None:
    """Asks all at once, and tells of each why it does not pass."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    with ExitStack() as stack, select.epoll() as waiting:
        left = _begin(askings, waiting, tell)
        stack.callback(_close, left)
        loop.add_reader(waiting, ready.set)
        try:
            async with asyncio.timeout(timeout):
                while left:
                    await ready.wait()
                    ready.clear()
                    _take(waiting, left, tell)
        except TimeoutError as e:
            _take(waiting, left, tell)
            for asking, _ in left.values():
                asking.stage = f"no connection to {asking.endpoint}"
                tell(asking, e)
        finally:
            loop.remove_reader(waiting)


Left = dict[int, tuple[Asking, socket.socket]]  # by descriptor


def _begin(askings: Iterable[Asking], waiting: select.epoll, tell: Tell) -> Left:
    left: Left = {}
    for asking in askings:
        try:
            sock = connecting(asking)
        except Exception as e:
            tell(asking, e)
        else:
            waiting.register(sock, select.EPOLLOUT)
            left[sock.fileno()] = asking, sock
    return left


def _take(waiting: select.epoll, left: Left, tell: Tell) -> None:
    """Those that have an answer."""
    for number, event in waiting.poll(0):
        asking, sock = left.pop(number)
        tell(asking, _error(sock) if event & select.EPOLLERR else None)
        sock.close()


def _error(sock: socket.socket) -> OSError | None:
    try:
        refused(sock)
    except OSError as e:
        return e
    return None


def _close(left: Left) -> None:
    for _, sock in left.values():
        sock.close()
