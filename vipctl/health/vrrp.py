"""What keepalived tells of VRRP, and which role follows for this director. Pure.

A line is `INSTANCE "vipctl_hop4" MASTER 150` or `GROUP "vipctl" MASTER 0`. A reader that comes late
gets old lines first, so the last one of each name counts.
"""

import re

LINE = re.compile(r'(INSTANCE|GROUP) "(vipctl\w*)" (\w+) \d+')
MASTER, OTHERS = "MASTER", ("BACKUP", "FAULT", "STOP")


class Vrrp:
    """Of the instances and groups whose names are vipctl's. What is not known, stays as it is."""

    def __init__(self) -> None:
        self._instances: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def hear(self, line: str) -> None:
        """
        >>> vrrp = Vrrp()
        >>> vrrp.hear('INSTANCE "vipctl_hop4" BACKUP 100')
        >>> vrrp.state
        'BACKUP'
        """
        found = LINE.fullmatch(line)
        if found and found[3] in (MASTER, *OTHERS):
            (self._groups if found[1] == "GROUP" else self._instances)[found[2]] = found[3]

    @property
    def state(self) -> str:
        """Of groups, if there are any: their instances follow. Empty if nothing was heard."""
        states = (self._groups or self._instances).values()
        return MASTER if MASTER in states else next(iter(states), "")
