"""The program `vipctl`, which lives for one command. Also `python -m vipctl`."""

import gc
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """What a command makes it needs to its end, and then all goes at once.

    Looking for garbage and taking the interpreter apart are a fifth of a small command.
    """
    gc.disable()
    from vipctl.cli import run

    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(status)  # and Python says which
    os._exit(status)


if __name__ == "__main__":
    main()
