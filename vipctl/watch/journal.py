"""What operators read later: entries of the journal or of syslog, else lines on stderr."""

import _socket as socket  # imported faster than `socket`
import os
import sys
from contextlib import closing, suppress
from enum import IntEnum

JOURNAL, SYSLOG = "/run/systemd/journal/socket", "/dev/log"
USER = 1 << 3  # syslog's facility of programs that have none of their own
COMMANDS = "a1dce0956fd94ff4a3b4b5c792f18989"  # MESSAGE_ID of entries of commands
PATIENCE = 1.0  # seconds that a journal may take to make room


class Level(IntEnum):
    """As syslog numbers them."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5


def say(level: Level, text: str, **fields: object) -> None:
    """What a daemon says, with fields of the journal, such as SERVICE="web", beside the text."""
    if _is_journal():
        _send(JOURNAL, _entry(level, text, fields))
        return
    print(f"vipctl: {_one_line(text)}", file=sys.stderr, flush=True)


def record(level: Level, text: str, **fields: object) -> None:
    """What is kept whoever reads stderr; nothing where nobody keeps anything."""
    line = f"<{USER | level}>vipctl[{os.getpid()}]: {_one_line(text)}"
    for path, entry in ((JOURNAL, _entry(level, text, fields)), (SYSLOG, line.encode())):
        with suppress(OSError):
            return _send(path, entry)
    return None


def _entry(level: Level, text: str, fields: dict[str, object]) -> bytes:
    """As the journal's native protocol has it: a field a line."""
    known = {"MESSAGE": text, "PRIORITY": int(level), "SYSLOG_IDENTIFIER": "vipctl"} | fields
    lines = (f"{name}={_one_line(value)}\n" for name, value in known.items())
    return "".join(lines).encode(errors="backslashreplace")


def _send(path: str, entry: bytes) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)) as out:
        out.settimeout(PATIENCE)
        out.sendto(entry, path)


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _is_journal() -> bool:
    """Whether stderr is the journal, as systemd.exec(5) has it told."""
    known = os.environ.get("JOURNAL_STREAM")
    if not known:
        return False
    found = os.fstat(2)
    return known == f"{found.st_dev}:{found.st_ino}"


class Trouble:
    """What may go wrong at each look; a trouble that lasts is said once."""

    def __init__(self) -> None:
        self._said = ""

    def now(self, problem: str) -> None:
        """None is ""."""
        if problem and problem != self._said:
            say(Level.ERROR, problem)
        self._said = problem
