"""What an option is: how it is typed, read and written, and who has it. Pure.

`options` lists those of services, `methods` those that a method alone has, `real` those of real
servers. The command line, `apply` files, JSON and the store follow from the lists.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from vipctl.services.syntax import number


class Option(NamedTuple):
    """One option, wherever it appears.

    `typed` is what `apply` files and JSON have: str, int, bool, object for a number or text, or
    list, of str. `read` makes the value of that, or of what was typed; it raises UsageError. `each`
    reads one of a list, for errors that name it. Only services whose virtual services are vipctl's
    have those of `ipvs`. Two services that share VIPs must `agree`; a change of what is `lasting`
    makes a method load all prefixes of the service anew.
    """

    help: str
    typed: type
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    metavar: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[int, int] = (0, 0)
    each: Callable[[str], Any] | None = None
    flag: str = ""
    ipvs: bool = False
    default: Any = None
    needed: bool = False
    agree: bool = False
    lasting: bool = False

    def spelled(self, name: str) -> str:
        """How the command line spells it."""
        return self.flag or f"--{name.replace('_', '-')}"


def switch(text: str, **more: Any) -> Option:
    return Option(text, bool, _same, _same, **more)


def amount(text: str, what: str, metavar: str, low: int, high: int, **more: Any) -> Option:
    """A number within bounds; `what` it is called in errors."""

    def read(word: str | int) -> int:
        return number(str(word), what, low, high)

    return Option(text, int, read, int, metavar, bounds=(low, high), **more)


def choice(text: str, names: type[StrEnum], **more: Any) -> Option:
    return Option(text, str, names, str, choices=tuple(map(str, names)), **more)


def word(text: str, metavar: str, read: Callable[[str], Any], **more: Any) -> Option:
    return Option(text, str, read, str, metavar, **more)


def words(
    text: str,
    metavar: str,
    read: Callable[[Sequence[str]], tuple[Any, ...]],
    each: Callable[[str], Any] | None = None,
    **more: Any,
) -> Option:
    return Option(text, list, read, _texts, metavar, each=each, **more)


def _same(value: Any) -> Any:
    return value


def _texts(values: Sequence[Any]) -> list[str]:
    return [str(value) for value in values]
