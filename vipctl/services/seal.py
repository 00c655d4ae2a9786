"""What a kernel has of a method, but the prefixes, in few bytes. Pure."""

from typing import NamedTuple


class Seal(NamedTuple):
    """Nothing at all, all that is needed, or something else: ABSENT, `intact`, OTHER.

    `digest` changes when somebody else changes what is there.
    """

    digest: str = ""
    fits: bool = True


ABSENT = Seal()
OTHER = Seal(fits=False)


def intact(digest: str) -> Seal:
    return Seal(digest)
