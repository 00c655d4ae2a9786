"""Who tried to change what, and what came of it: one entry for each command that may change."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from vipctl.cli.output import printable

LONGEST = 2000  # characters of a command, which may name a thousand ranges
NO_LOGIN = str(2**32 - 1)  # include/linux/audit.h: AUDIT_UID_UNSET
Write = Callable[..., None]


def silent(_text: str, **_fields: object) -> None:
    """Keeps nothing."""


class Audit:
    """Of one command: `tries` once it is about to change something."""

    def __init__(self, words: Iterable[str] = (), write: Write = silent) -> None:
        self.words, self._write = tuple(words), write
        self.tries = False

    def done(self, outcome: str) -> None:
        """Writes the entry, once."""
        if not self.tries:
            return
        self.tries = False
        command, who = _command(self.words), _who()
        by = ", ".join(f"{name} {value}" for name, value in who.items())
        fields = {name.upper().replace(" ", "_"): value for name, value in who.items()}
        outcome = printable(outcome)
        self._write(f"{command}: {outcome} ({by})", COMMAND=command, OUTCOME=outcome, **fields)


def journal(text: str, **fields: object) -> None:
    """Keeps it in the journal, or syslog."""
    from vipctl.watch.journal import COMMANDS, Level, record

    record(Level.NOTICE, text, MESSAGE_ID=COMMANDS, **fields)


def _command(words: Sequence[str]) -> str:
    from shlex import join

    text = printable(join(("vipctl", *words)))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(words)} words)"


def _who() -> dict[str, str]:
    """`login uid` is who logged in, whatever became of the process since: the kernel tells."""
    from vipctl import files

    found = {"uid": str(os.getuid()), "SUDO_USER": printable(os.environ.get("SUDO_USER", ""))}
    found["tty"] = _terminal()
    with suppress(OSError):
        login = files.text("/proc/self/loginuid").strip()
        found["login uid"] = "" if login == NO_LOGIN else login
    return {name: value for name, value in found.items() if value}


def _terminal() -> str:
    for number in range(3):
        with suppress(OSError):
            return os.ttyname(number)
    return ""
