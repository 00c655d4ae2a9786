"""The program `vipctl`, which lives for one command. Also `python -m vipctl`."""

import gc
import os


def main() -> None:
    """What a command makes it needs to its end, and then all goes at once.

    Looking for garbage and taking the interpreter apart are a fifth of a small command.
    """
    gc.disable()
    from vipctl import cli

    try:
        cli.main()
    except SystemExit as e:
        code = e.code
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
