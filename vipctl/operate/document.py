"""The desired state as YAML: what `apply` reads and `export` writes.

services:
  web:
    ranges: [203.0.113.0/24, 198.51.100.10-198.51.100.99, "@more.txt"]
    reals: [10.0.1.11, "10.0.1.12,weight=2"]
    scheduler: wrr
  fwmark-17:            # acceptance only: keepalived or ipvsadm owns IPVS's side
    ranges: [192.0.2.0/24]

A file is relative to the document, or for standard input and pipes to the working directory. JSON
is read too, and many times faster: what has thousands of ranges is exported as JSON.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vipctl import methods
from vipctl.addresses.prefixes import AddressSet
from vipctl.errors import UsageError, VipctlError
from vipctl.operate import asked, pieces, rangelist
from vipctl.services import marks, syntax
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.methods import METHODS
from vipctl.services.option import Option, Whose
from vipctl.services.planner import choose_mark
from vipctl.services.service import OPTIONS, Service, from_plain, plain
from vipctl.services.values import AUTO

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

INPUT = Path("standard input")  # its name in messages
NONE: Mapping[str, int] = {}
MAX_PROBLEMS = 5
MANY = 10_000  # ranges that take YAML seconds
MAX_BYTES = 256 << 20
MAX_DEPTH = 8
T = TypeVar("T", bound=BaseModel)


def _readable(read: Callable[[Any], object]) -> AfterValidator:
    def check(text: Any) -> Any:
        try:
            read(text)
        except VipctlError as e:
            raise ValueError(f"{e.message} ({e.hint})") from e
        return text

    return AfterValidator(check)


def _form_of(option: Option) -> Any:
    """The type of an option, which validates it."""
    if option.typed is list:
        one = Annotated[str, _readable(option.each)] if option.each else str
        return Annotated[list[one], _readable(option.read)]  # type: ignore[valid-type]
    if option.typed is int:
        low, high = option.bounds
        return Annotated[int, Field(ge=low, le=high)]
    return Annotated[option.typed, _readable(option.read)]


STRICT = ConfigDict(extra="forbid", strict=True)


class Form(BaseModel):
    """A service; what is not there has its default."""

    model_config = STRICT

    method: str = AUTO
    fwmark: int | None = None
    ranges: list[str] = []

    def given(self) -> dict[str, Any]:
        """The options that are there."""
        return self.model_dump(exclude_unset=True, exclude={"ranges"})


@cache
def _form_for(*, proxied: bool, whose: frozenset[Whose]) -> type[Form]:
    """With the options of services of a kind."""
    found = {name: option for name, option in OPTIONS.items() if option.whose in whose}
    for method in METHODS.values():
        found |= method.options if method.proxied is proxied else {}
    fields: dict[str, Any] = {
        name: (_form_of(option), ... if option.needed else None) for name, option in found.items()
    }
    fields |= {"method": (fields["method"][0], AUTO)}
    return create_model("Form", __base__=Form, **fields)


def _accepted() -> type[Form]:
    """Of acceptance only."""
    return _form_for(proxied=False, whose=frozenset({Whose.ALL}))


def _named(fields: Mapping[str, Any]) -> type[Form]:
    """Of a service with a name, by what is there."""
    if asked.proxied(fields):
        return _form_for(proxied=True, whose=frozenset({Whose.ALL}))
    return _form_for(proxied=False, whose=frozenset({Whose.ALL, Whose.IPVS}))


class Document(BaseModel):
    model_config = STRICT

    services: dict[str, dict[str, Any]]


Held = tuple[Service, AddressSet]
Wanted = dict[str, Held]


def load(path: Path) -> Callable[[Mapping[str, Service]], Wanted]:
    """Reads and validates at once, `-` is standard input; the result needs the stored services.

    Raises UsageError naming file and field.
    """
    base = _base(path)
    path, text = (INPUT, _input()) if path == Path("-") else (path, _read(path))
    document = _validate(path, Document, (), _parse(path, text))
    forms, addresses = {}, {}
    for name, fields in document.services.items():
        with _naming(path, name):
            forms[name] = _form(path, name, fields)
            addresses[name] = _addresses(path, base, name, forms[name])
    return lambda present: _wanted(path, forms, addresses, present)


def _base(path: Path) -> Path:
    """What the @FILEs of a document are relative to."""
    piped = path == Path("-") or str(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return Path() if piped else path.parent


def _addresses(path: Path, base: Path, name: str, form: Form) -> AddressSet:
    """Raises UsageError naming the ranges that are wrong, by their places in the list."""
    where, problems = f"services.{name}.ranges", list[str]()
    texts = (f"@{base / text[1:]}" if text.startswith("@") else text for text in form.ranges)
    addresses = rangelist.collect(
        texts, lambda at, e: problems.append(f"{where}.{at}: {e.message} ({e.hint})")
    )
    if problems:
        raise _wrong(path, problems)
    if not (addresses or type(form) is not _accepted()):
        raise UsageError(
            f"{path}: {where}: acceptance only, of nothing",
            hint="name ranges, or leave the service out",
        )
    return addresses


def shown(services: Iterable[Held], *, most: int, unlisted: Mapping[str, int] = NONE) -> str:
    """For people: of no service more than so many ranges; `unlisted` counts those not given."""
    return to_yaml(
        _plain((s, _listed(found, most, unlisted.get(s.name, 0))) for s, found in services)
    )


def _listed(addresses: AddressSet, most: int, unlisted: int) -> list[str]:
    more = [f"and {unlisted:,} prefixes that stay"] if unlisted else []
    if (number := addresses.count()) > most:
        return [f"{number:,} prefixes", *more]
    return [*addresses.prefixes(), *more]


def dump(services: Sequence[Held]) -> Iterator[str]:
    """What `load` reads back, in pieces; JSON where YAML would take seconds."""
    if sum(addresses.count() for _, addresses in services) > MANY:
        yield from in_json({}, services, indent=1)
    else:
        yield to_yaml(_plain((s, list(addresses.prefixes())) for s, addresses in services))


def in_json(
    head: dict[str, object], services: Sequence[Held], indent: int | None = None
) -> Iterator[str]:
    """The same as JSON, in pieces, behind what is in `head`."""
    form = _plain((s, [pieces.HERE] * bool(addresses)) for s, addresses in services)
    lists = (_quoted(addresses) for _, addresses in services if addresses)
    return pieces.of(head | form, lists, indent)


def _quoted(addresses: AddressSet) -> Iterator[str]:
    return (f'"{prefix}"' for prefix in addresses.prefixes())


def _plain(services: Iterable[tuple[Service, list[str]]]) -> dict[str, object]:
    return {
        "services": {
            service.name: {"ranges": ranges, **plain(service)} for service, ranges in services
        }
    }


def to_yaml(value: object) -> str:
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = False  # a terminal may show it, and some of it would turn the words
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(value, stream)
    return stream.getvalue()


class Flat(Composer):
    """Refuses aliases, which a state file never needs and which make a small one large."""

    def return_alias(self, a: Any) -> Any:
        raise MarkedYAMLError("aliases are not for a state file", problem_mark=a.start_mark)


def _read(path: Path) -> str:
    try:
        with rangelist.readable(str(path)) as file:
            return _text(path, file)
    except OSError as e:
        raise _cannot_read(path, str(e.strerror)) from e


def _input() -> str:
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
    return UsageError(f"cannot read {path}: {reason}", hint="give a YAML file")


def _parse(path: Path, text: str) -> object:
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
    """Or YAML that looks like it."""
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


@contextmanager
def _naming(path: Path, name: str) -> Iterator[None]:
    """Errors name the file and the service."""
    try:
        yield
    except VipctlError as e:
        if e.message.startswith(f"{path}: "):
            raise
        raise type(e)(f"{path}: services.{name}: {e.message}", hint=e.hint) from e


def _form(path: Path, name: str, fields: dict[str, Any]) -> Form:
    where = ("services", name)
    if name.startswith(ACCEPTANCE_PREFIX):
        accepted = _validate(path, _accepted(), where, fields)
        mark = syntax.parse_mark(name.removeprefix(ACCEPTANCE_PREFIX))
        if name != marks.acceptance_name(mark) or accepted.fwmark not in (None, mark):
            raise UsageError(
                f"{path}: services.{name}.fwmark: is {mark} by its name",
                hint=f"the service of fwmark N is called {ACCEPTANCE_PREFIX}N",
            )
        return accepted.model_copy(update={"fwmark": mark})
    syntax.check_name(name)
    return _validate(path, _named(fields), where, fields)


def _validate(path: Path, kind: type[T], where: tuple[str, ...], value: object) -> T:
    try:
        return kind.model_validate(value)
    except ValidationError as e:
        problems = [
            f"{'.'.join(map(str, (*where, *p['loc']))) or 'services'}: {_said(p)}"
            for p in e.errors()
        ]
        raise _wrong(path, problems) from e


def _said(problem: "ErrorDetails") -> str:
    """YAML takes an address that ends in a colon for the key of a mapping."""
    words, found = problem["msg"].removeprefix("Value error, "), problem["input"]
    if problem["type"] != "string_type" or found is None:
        return words
    if isinstance(found, dict) and list(found.values()) == [None]:
        return f'{words}; quote it: "{next(iter(found))}:"'
    return f"{words}; quote it"


def _wrong(path: Path, problems: list[str]) -> UsageError:
    more = len(problems) - MAX_PROBLEMS
    tail = f"; and {more} more" if more > 0 else ""
    return UsageError(
        f"{path}: " + "; ".join(problems[:MAX_PROBLEMS]) + tail, hint="vipctl export shows the form"
    )


def _wanted(
    path: Path,
    forms: Mapping[str, Form],
    addresses: Mapping[str, AddressSet],
    present: Mapping[str, Service],
) -> Wanted:
    wanted: Wanted = {}
    best = cache(lambda proxied: methods.best(proxied=proxied))
    named = [f.fwmark for f in forms.values() if f.fwmark] + [
        present[name].fwmark for name, f in forms.items() if not f.fwmark and name in present
    ]
    for name, form in forms.items():
        with _naming(path, name):
            chosen = [service for service, _ in wanted.values()]
            mark = form.fwmark or (present[name].fwmark if name in present else None)
            if mark is None:
                mark = marks.free_mark([*named, *(s.fwmark for s in chosen)])
            choose_mark(chosen, mark)
            fields = form.given() | {"fwmark": mark}
            if form.method == AUTO:
                fields["method"] = _method(form, present.get(name), best)
            wanted[name] = from_plain(name, fields), addresses[name]
    return wanted


def _method(form: Form, before: Service | None, best: Callable[[bool], str]) -> str:
    """Where the file leaves it open: as it is, or the best that the director can use."""
    proxied = asked.proxied(form.given())
    if before is not None and before.proxied is proxied:
        return before.method
    return best(proxied)
