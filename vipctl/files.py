"""Files of /proc and of ours. Importing pathlib takes a command as long as all that it reads."""

import errno
import os

Where = str | os.PathLike[str]
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def text(path: Where) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def exists(path: Where) -> bool:
    """Raises OSError where that may not be known."""
    try:
        os.stat(path)
    except OSError as e:
        if e.errno in NOTHING_THERE:
            return False
        raise
    return True
