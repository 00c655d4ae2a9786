"""Turn a polite kill into Ctrl-C, so that `finally`, fixtures and `atexit` run."""

import signal


def terminate_like_interrupt() -> None:
    """Make polite signals raise KeyboardInterrupt, even where SIGINT was ignored (background)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
