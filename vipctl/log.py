"""What `-v` shows: what is sent to a kernel. Importing `logging` would take longer than it all."""

from collections.abc import Callable

listener: Callable[[str], None] | None = None


def debug(text: str, *values: object) -> None:
    """The values take their places in the text if somebody listens."""
    if listener is not None:
        listener(text % values)
