"""What a kernel has of a method, but the prefixes, in few bytes. Pure."""

from typing import NamedTuple


class Seal(NamedTuple):
    """Nothing at all, all that is needed, or something else: ABSENT, one with a digest, OTHER.

    `digest` changes when somebody else changes what is there.
    """

    digest: str = ""
    fits: bool = True


ABSENT = Seal()
OTHER = Seal(fits=False)
