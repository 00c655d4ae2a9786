"""What commands have changed or tried to, as the journal has it: read by systemd's journalctl."""

import json
import os
import shutil
import subprocess
import time
from typing import Any, NamedTuple

from vipctl import files
from vipctl.errors import Missing
from vipctl.watch.journal import COMMANDS, JOURNAL

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HINT = (
    "where syslog runs, its files have what commands did: grep 'vipctl\\[' /var/log/syslog; "
    "where neither runs, nobody keeps it"
)


class Entry(NamedTuple):
    """One command. `uid` is the journal's own word; the rest is what the command said.

    `login_uid`: who logged in, as the kernel had told it. "" of what it did not say.
    """

    at: str
    uid: str
    login_uid: str
    sudo_user: str
    tty: str
    command: str
    outcome: str


def last(most: int) -> list[Entry]:
    """The last ones, the oldest first. Raises Missing where there is no journal."""
    found = [_entry(json.loads(line)) for line in _printed(most).splitlines()]
    if not found and not files.exists(JOURNAL):
        raise Missing("there is no journal here", hint=HINT)
    return found


def _printed(most: int) -> bytes:
    """JSON, an entry a line."""
    program = shutil.which("journalctl", path=PATH)
    if program is None:
        raise Missing("there is no journal here (journalctl)", hint=HINT)
    argv = [program, "--no-pager", "--quiet", "--all", "--output=json", f"--lines={most}"]
    argv += [f"MESSAGE_ID={COMMANDS}", "SYSLOG_IDENTIFIER=vipctl"]
    done = subprocess.run(argv, capture_output=True, check=False, env=os.environ | {"LC_ALL": "C"})  # noqa: S603
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise Missing(
            f"the journal cannot be read: {said[-1]}",
            hint="use sudo, or be of the group systemd-journal",
        )
    return done.stdout


def _entry(fields: dict[str, Any]) -> Entry:
    moment = time.localtime(int(fields["__REALTIME_TIMESTAMP"]) / 1_000_000)
    names = ("_UID", "LOGIN_UID", "SUDO_USER", "TTY", "COMMAND", "OUTCOME")
    words = (_text(fields.get(name)) for name in names)
    return Entry(time.strftime("%Y-%m-%dT%H:%M:%S%z", moment), *words)


def _text(value: Any) -> str:
    """As `systemd.journal-fields` in JSON: text, its bytes, or several of them."""
    if isinstance(value, list):
        octets = all(isinstance(one, int) for one in value)
        return bytes(value).decode(errors="replace") if octets else _text(value[0])
    return value or ""
