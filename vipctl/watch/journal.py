"""What a daemon says: to the journal with fields, else one line each on stderr."""

import os
import socket
import sys
from enum import IntEnum

JOURNAL = "/run/systemd/journal/socket"


class Level(IntEnum):
    """As syslog numbers them."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5


def say(level: Level, text: str, **fields: object) -> None:
    """One entry; fields of the journal, such as SERVICE="web", beside the text."""
    if _is_journal():
        known = {"MESSAGE": text, "PRIORITY": int(level), "SYSLOG_IDENTIFIER": "vipctl"} | fields
        lines = (f"{name}={_one_line(value)}\n" for name, value in known.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto("".join(lines).encode(), JOURNAL)
        return
    print(f"vipctl: {_one_line(text)}", file=sys.stderr, flush=True)


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _is_journal() -> bool:
    """Whether stderr is the journal, as systemd.exec(5) has it told."""
    known = os.environ.get("JOURNAL_STREAM")
    if not known:
        return False
    found = os.fstat(2)
    return known == f"{found.st_dev}:{found.st_ino}"
