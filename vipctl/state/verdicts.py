"""What a daemon's health checks say, as commands find it: one file below /run for each state.

It is replaced in one step, and holds for this boot and this network namespace alone. Where there is
none, or none that can be read, every real server has the weight that is stored.
"""

import json
import os
import stat

from vipctl import digests, files
from vipctl.errors import Missing
from vipctl.files import Where
from vipctl.health.verdicts import NONE, Verdicts, from_plain, plain
from vipctl.state import runtime
from vipctl.state.directory import cure, identity


def path(state_dir: Where) -> str:
    return f"{runtime.DIRECTORY}/verdicts-{digests.of(os.path.realpath(state_dir))}.json"


def read(state_dir: Where) -> Verdicts:
    try:
        where = path(state_dir)
        if not _private(os.lstat(where)):
            return NONE
        form = json.loads(files.text(where))
        return from_plain(form["services"]) if form["of"] == identity() else NONE
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return NONE


def write(state_dir: Where, verdicts: Verdicts) -> None:
    """Replaces what was said before; nothing at all leaves no file. Raises Missing, or Refused."""
    where = path(state_dir)
    try:
        if not verdicts.services:
            return _remove(where)
        runtime.prepare()
        form = {"of": identity(), "services": plain(verdicts)}
        _put(f"{where}.new", json.dumps(form))
        os.rename(f"{where}.new", where)
    except OSError as e:
        raise Missing(
            f"what health checks say cannot be written to {where}: {e.strerror}", hint=cure(e)
        ) from e


def _put(where: str, text: str) -> None:
    _remove(where)  # of one that was killed
    handle = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _remove(where: str) -> None:
    if files.exists(where):
        os.unlink(where)


def _private(info: os.stat_result) -> bool:
    """Whether root alone, or who runs this, may write there."""
    return info.st_uid in (0, os.geteuid()) and not stat.S_IMODE(info.st_mode) & 0o022
