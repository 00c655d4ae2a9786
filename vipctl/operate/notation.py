"""Reading files and standard input as YAML or JSON, and writing YAML."""

import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vipctl.errors import UsageError
from vipctl.operate import rangelist

INPUT = Path("standard input")  # its name in messages
MAX_BYTES = 256 << 20
MAX_DEPTH = 8
SLOW_IN_YAML = 10_000  # lines that take YAML seconds


def to_yaml(value: object) -> str:
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.width = sys.maxsize  # where ruamel breaks a line behind a backslash, a space is lost
    yaml.default_flow_style = False
    yaml.allow_unicode = False  # some characters would reverse the text on a terminal
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(value, stream)
    return stream.getvalue()


class Flat(Composer):
    """Refuses aliases, which a state file never needs and which make a small one large."""

    def return_alias(self, a: Any) -> Any:
        raise MarkedYAMLError("aliases are not for a state file", problem_mark=a.start_mark)


def read(path: Path) -> str:
    try:
        with rangelist.readable(str(path)) as file:
            return _text(path, file)
    except OSError as e:
        raise _cannot_read(path, str(e.strerror)) from e


def read_input() -> str:
    try:
        return _text(INPUT, sys.stdin.buffer)
    except (OSError, AttributeError) as e:  # Python has no sys.stdin where descriptor 0 is closed
        raise _cannot_read(INPUT, str(e)) from e


def _text(path: Path, file: BinaryIO) -> str:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{path}: is larger than {MAX_BYTES >> 20} MiB", hint="is it the right one?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _cannot_read(path, "not a UTF-8 text") from e


def _cannot_read(path: Path, reason: str) -> UsageError:
    return UsageError(f"cannot read {path}: {reason}", hint="give a file of text")


def parse(path: Path, text: str) -> object:
    try:
        return _json(text) if text.lstrip()[:1] == "{" else _yaml().load(text)
    except (MaxDepthExceededError, RecursionError) as e:
        raise UsageError(f"{path}: is nested too deeply", hint="is it the right file?") from e
    except (YAMLError, ValueError, LookupError, TypeError) as e:  # odd tags and keys raise these
        words = " ".join(str(e).split())
        hint = "correct the YAML at that line"
        if "::" in text:
            hint += '; an address that ends in "::" or has a port needs quotes'
        raise UsageError(f"{path}: {words[:400]}", hint=hint) from e


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = Flat
    yaml.max_depth = MAX_DEPTH
    yaml.composer.warn_double_anchors = False  # no warning of Python's to an operator
    return yaml


def _json(text: str) -> object:
    """Reads JSON, or YAML that begins like JSON."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        return _yaml().load(text)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found
