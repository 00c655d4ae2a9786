"""Programs that run while a test does."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(argv: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A process, killed when the block is left: `Popen` alone would wait for its end, for ever."""
    with subprocess.Popen(argv, **options) as process:
        try:
            yield process
        finally:
            process.kill()
