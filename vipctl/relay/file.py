"""To a file instead of a director, and back from it: a record of what was said, to look into."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vipctl.errors import Missing, UsageError
from vipctl.files import Where
from vipctl.relay.transport import GREETING, LENGTH, Sent, framed
from vipctl.watch.journal import Level, say


class Recording:
    """Begins a new file, for root alone; ends if the disk does not take more.

    Raises Missing if there is such a file, or there can be none.
    """

    def __init__(self, path: Where) -> None:
        self._name, self._sent = os.fspath(path), 0
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as e:
            hint = "name a new file in a directory that is there"
            raise Missing(f"cannot record in {self._name}: {e.strerror}", hint=hint) from e
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._file.write(GREETING)

    def send(self, message: bytes) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(framed(message))
            self._sent += 1
        except OSError as e:
            say(Level.ERROR, f"no more is recorded in {self._name}: {e.strerror}")
            self._file.close()

    async def run(self) -> None:
        await asyncio.Event().wait()

    def report(self) -> Mapping[str, Sent]:
        return {self._name: Sent(there=not self._file.closed, sent=self._sent, dropped=0)}


def recorded(path: Where) -> Iterator[bytes]:
    """The messages of a recording. Raises Missing; UsageError for a file that is none."""
    try:
        found = Path(path).read_bytes()
    except OSError as e:
        what = f"cannot read {os.fspath(path)}: {e.strerror}"
        raise Missing(what, hint="name a file that vipctl sync --record has made") from e
    if not found.startswith(GREETING):
        raise UsageError(f"{os.fspath(path)} is no recording of vipctl sync", hint="--record FILE")
    at = len(GREETING)
    while at < len(found):
        end = at + LENGTH + int.from_bytes(found[at : at + LENGTH], "big")
        yield found[at + LENGTH : end]  # what is cut off is malformed, and refused as such
        at = end
