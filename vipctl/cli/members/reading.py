"""What members of the group may ask, and how."""

import os
import stat

import click
from click.core import ParameterSource

from vipctl.errors import Missing

# Commands, with their arguments and options. None changes anything, sends a packet, or reads or
# writes a file that somebody names.
READING: dict[str, tuple[str, ...]] = {
    "status": ("names", "telling"),
    "list-services": (),
    "list-ranges": ("name",),
    "list-checks": ("name",),
    "lookup": ("addresses",),
    "explain": ("address", "port", "client", "device"),
    "doctor": (),
    "metrics": (),
}
ENVIRONMENT = ("COLUMNS", "NO_COLOR", "TERM")  # how to print
LARGEST = 1 << 16  # bytes of what is asked
LIMIT = 60  # seconds that a command may take
OUTPUTS = STDOUT, STDERR = 1, 2


def refuse_others(context: click.Context) -> None:
    """Raises Missing for a command, an argument or an option that is not in READING."""
    name = str(context.info_name)
    if name not in READING:
        raise Missing(f"vipctl {name} needs root", hint="use sudo")
    for part in context.command.params:
        typed = context.get_parameter_source(str(part.name)) is not ParameterSource.DEFAULT
        if typed and part.name not in READING[name]:
            said = f"vipctl {name} {part.opts[0]} needs root"
            raise Missing(said, hint="use sudo, or leave it out")


def is_given(file: int) -> bool:
    """Whether a command of root's prints to this file of a member's: terminals and pipes.

    By a socket it would speak as root: the journal, for one, asks the kernel who sends.
    """
    return os.isatty(file) or stat.S_ISFIFO(os.fstat(file).st_mode)
