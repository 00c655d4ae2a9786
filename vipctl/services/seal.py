"""Seals: what the kernel has of a method, apart from the prefixes, in a few bytes. Pure."""

from typing import NamedTuple


class Seal(NamedTuple):
    """ABSENT: the kernel has nothing of the method. OTHER: it has something else than needed.

    Any other seal: it has what is needed; `digest` changes when somebody changes that.
    """

    digest: str = ""
    fits: bool = True


ABSENT = Seal()
OTHER = Seal(fits=False)
