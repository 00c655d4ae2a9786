"""What an option is: how it is typed, read and written, and who has it. Pure.

`options` lists those of services, `methods` those that a method alone has, `real` those of real
servers. The command line, `apply` files, JSON and the store follow from the lists.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from vipctl.services.syntax import number, seconds


class Option(NamedTuple):
    """One option, wherever it appears.

    `typed` is its type in `apply` files and JSON: str, int, bool, list (of str), or object for a
    number or text. `read` makes the value from that, or from a word of the command line; it raises
    UsageError. `each` reads one item of a list, so that errors can name it. Options with `ipvs` are
    for services that vipctl balances with IPVS. Two services that share VIPs must have the same
    value if `agree`. A change of a `lasting` option makes methods load all prefixes of the service
    anew. Two directors of the same service may have different values of a `local` one. `empty` is
    what an empty list is called.
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
    local: bool = False
    empty: str = "none"

    def spelled(self, name: str) -> str:
        """How the command line spells it."""
        return self.flag or f"--{name.replace('_', '-')}"


def switch(text: str, **more: Any) -> Option:
    return Option(text, bool, _same, _same, **more)


def amount(
    text: str,
    what: str,
    metavar: str,
    low: int,
    high: int,
    *,
    hexadecimal: bool = False,
    **more: Any,
) -> Option:
    """A number within bounds; errors call it `what`."""

    def read(word: str | int) -> int:
        return number(str(word), what, low, high, hexadecimal=hexadecimal)

    return Option(text, int, read, int, metavar, bounds=(low, high), **more)


def duration(text: str, longest: int, **more: Any) -> Option:
    """Whole seconds, from 0; written as a number."""

    def read(word: str | int) -> int:
        return round(seconds(word, 0, longest))

    return Option(text, object, read, int, "SECONDS", bounds=(0, longest), **more)


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
