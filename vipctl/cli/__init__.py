"""The command line: the only place that prints or exits, and the only one that knows click."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from vipctl.cli import audit, changing, directing, output, showing  # noqa: F401 - three register commands
from vipctl.cli.base import Begun, Gate, group
from vipctl.cli.output import Unprinted, printable, printable_lines
from vipctl.cli.result import MADE, say_json
from vipctl.errors import UsageError, VipctlError


def main() -> None:
    output.prepare()
    code = run(sys.argv[1:], audit.journal, _gate())
    output.finish()
    sys.exit(code)


def _gate() -> Gate | None:
    if not os.geteuid():
        return None
    from vipctl.cli.members import asking

    return asking.gate


def run(words: Sequence[str], write: audit.Write = audit.silent, gate: Gate | None = None) -> int:
    """Runs one command, prints its result or error, and returns the exit code.

    `write` keeps what it was, if it may change something.
    """
    entry = audit.Audit(words, write)
    try:
        code: int | None = group.main(
            list(words), prog_name="vipctl", standalone_mode=False, obj=Begun(entry, gate)
        )
    except click.exceptions.NoArgsIsHelpError as e:
        output.tell(e.format_message())
        return UsageError.exit_code
    except (Exception, KeyboardInterrupt, SystemExit) as e:
        return _failed(e, words, entry)
    return code or 0


def _failed(cause: BaseException, words: Sequence[str], entry: audit.Audit) -> int:
    """Prints an error and returns the exit code: 0 if only the reader of a report has gone."""
    error = _known(cause)
    entry.done(f"{error.kind}: {'; '.join([error.message, *getattr(error, '__notes__', ())])}")
    made = MADE in getattr(error, "__notes__", ())
    if isinstance(error, Unprinted) and error.closed and not made:
        return 0
    if "-v" in words and type(error) is VipctlError:
        import traceback

        output.tell(printable_lines("".join(traceback.format_exception(cause))))
    said = _show(error, as_json="--json" in words)
    return error.exit_code if said or not made else 0


def _known(error: BaseException) -> VipctlError:
    if isinstance(error, VipctlError):
        return error
    found = _named(error)
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found


def _named(error: BaseException) -> VipctlError:
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "vipctl"
        return UsageError(error.format_message().rstrip("."), hint=f"{path} --help")
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return VipctlError("interrupted", hint="run the command again")
    if isinstance(error, SystemExit):  # click's, where --help or --version meets a closed pipe
        return Unprinted(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
    if isinstance(error, OSError) and output.is_of_printing(error):
        return Unprinted(error)
    hint = "run it again with -v, and report what it prints"
    return VipctlError(f"{type(error).__name__}: {error}", hint=hint)


def _show(error: VipctlError, *, as_json: bool) -> bool:
    """Prints an error; returns whether that was possible."""
    message = "; ".join([error.message, *getattr(error, "__notes__", ())])
    if as_json:
        from vipctl.operate.printed import printed

        body = {"kind": error.kind, "message": message, "hint": error.hint}
        try:
            say_json(printed({"error": body}))
            return True
        except Unprinted:
            pass  # then as text
    if output.watched():
        output.tell("\r\x1b[K", nl=False)  # a line of progress
    said = output.tell(output.styled("error: ", fg="red") + printable(message))
    if error.hint:
        output.tell(f"hint: {printable(error.hint)}")
    return said
