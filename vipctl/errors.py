"""The errors that vipctl reports, and their exit codes.

VipctlError     1  unexpected: a defect of vipctl or of the machine
├── UsageError  2  usage: the input is not of the form that the command takes
├── Refused     3  refused: well-formed, but in conflict with the state, or unsafe
├── KernelError 4  kernel: the kernel said no, with its own words
└── Missing     5  missing: a module, library or privilege, with how to get it
"""

from collections.abc import Iterable
from typing import ClassVar


class VipctlError(Exception):
    """Base of all; `hint` tells the operator what to do next."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "unexpected"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def in_a_line(self) -> str:
        """Message and hint, where there is one line for both."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


def nearest(name: str, known: Iterable[str], otherwise: str = "vipctl --help") -> str:
    """The hint for an unknown name: similar names that are known, else `otherwise`."""
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(found)}?" if found else otherwise


class UsageError(VipctlError):
    exit_code = 2
    kind = "usage"


class Refused(VipctlError):
    exit_code = 3
    kind = "refused"


class KernelError(VipctlError):
    exit_code = 4
    kind = "kernel"


class Missing(VipctlError):
    exit_code = 5
    kind = "missing"
