"""The command line: the only place that prints or exits, and the only one that knows click."""

import json
import sys
from collections.abc import Sequence

import click

from vipctl.cli.commands import group
from vipctl.errors import UsageError, VipctlError


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Runs one command, prints what it has to say, returns the exit code."""
    try:
        group.main(list(words), prog_name="vipctl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return UsageError.exit_code
    except (Exception, KeyboardInterrupt) as e:
        error = _known(e)
        if "-v" in words and type(error) is VipctlError:
            import traceback

            traceback.print_exc()
        _show(error, as_json="--json" in words)
        return error.exit_code
    return 0


def _known(error: BaseException) -> VipctlError:
    if isinstance(error, VipctlError):
        return error
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        path = context.command_path if context else "vipctl"
        return UsageError(error.format_message().rstrip("."), hint=f"{path} --help")
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        return VipctlError("interrupted", hint="run the command again")
    hint = "run it again with -v, and report what it prints"
    return VipctlError(f"{type(error).__name__}: {error}", hint=hint)


def _show(error: VipctlError, *, as_json: bool) -> None:
    message = "; ".join([error.message, *getattr(error, "__notes__", ())])
    if as_json:
        body = {"kind": error.kind, "message": message, "hint": error.hint}
        click.echo(json.dumps({"error": body}))
        return
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)  # a line of progress
    click.echo(click.style("error: ", fg="red") + message, err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
