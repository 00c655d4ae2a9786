"""Names of services in the order in which people count. Pure."""

import re


def naturally(name: str) -> list[tuple[int, str]]:
    """The key by which web2 comes before web10.

    >>> sorted(["web10", "web2"], key=naturally)
    ['web2', 'web10']
    """
    return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]
