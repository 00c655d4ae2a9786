"""Reading files without pathlib: importing that takes as long as all that a command reads."""

import errno
import os
from collections.abc import Iterator

Where = str | os.PathLike[str]
NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def text(path: Where) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def lines_after_head(path: Where) -> Iterator[str]:
    """All but the first, one by one: for files that may be long, of which little is read."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        next(file, None)
        yield from file


def exists(path: Where) -> bool:
    """Raises OSError if that cannot be found out, for want of permission for example."""
    try:
        os.stat(path)
    except OSError as e:
        if e.errno in NOTHING_THERE:
            return False
        raise
    return True
