"""Keys, as a terminal sends them, one by one and unseen."""

import re
import termios
from collections.abc import Iterator
from contextlib import contextmanager

KEYS = {
    "\x03": "ctrl-c", "\x1b": "escape", "\r": "enter", "\n": "enter",
    "\x7f": "backspace", "\x08": "backspace",
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1b[F": "end",
    "\x1bOH": "home", "\x1bOF": "end", "\x1b[1~": "home", "\x1b[4~": "end",
}  # fmt: skip
KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|.", re.DOTALL)


def named(data: bytes) -> list[str]:
    """
    >>> named(b"a\\x1b[A\\x03")
    ['a', 'up', 'ctrl-c']
    """
    found = KEY.findall(data.decode(errors="ignore"))
    return [KEYS.get(key, key) for key in found if key in KEYS or key.isprintable()]


@contextmanager
def unseen(descriptor: int) -> Iterator[None]:
    """While it is entered; Ctrl-C is a key, too, and the terminal is as before afterwards."""
    before = termios.tcgetattr(descriptor)
    now = termios.tcgetattr(descriptor)
    now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
