"""What is sent to the kernel, for `-v` to show. Not by `logging`, whose import takes too long."""

from collections.abc import Callable

listener: Callable[[str], None] | None = None


def debug(text: str, *values: object) -> None:
    """Passes `text % values` to the listener, if there is one."""
    if listener is not None:
        listener(text % values)
