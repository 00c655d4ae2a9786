"""The desired state as YAML: what `apply` reads and `export` writes.

director:               # settings of the whole director; none if it is left out
  udp_timeout: 60
services:
  web:
    ranges: [203.0.113.0/24, 198.51.100.10-198.51.100.99, "@more.txt"]
    reals: [10.0.1.11, "10.0.1.12,weight=2"]
    scheduler: wrr
  fwmark-17:            # acceptance only: keepalived or ipvsadm owns IPVS's side
    ranges: [192.0.2.0/24]

@FILE is relative to the document or, for standard input and pipes, to the working directory. JSON
is read too, many times faster: a state with more than ten thousand ranges is exported as JSON.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vipctl import methods
from vipctl.addresses.prefixes import AddressSet
from vipctl.errors import UsageError, VipctlError
from vipctl.operate import asked, forms, notation, pieces, rangelist
from vipctl.operate.forms import Document, Form
from vipctl.services import director as settings
from vipctl.services import marks
from vipctl.services.director import UNSET, Director
from vipctl.services.planner import choose_mark
from vipctl.services.service import Service, from_plain, plain
from vipctl.services.values import AUTO

NONE: Mapping[str, int] = {}
Held = tuple[Service, AddressSet]
Wanted = dict[str, Held]


class Read(NamedTuple):
    """A document; `services` takes the stored services, whose marks and methods may be kept."""

    director: Director
    services: Callable[[Mapping[str, Service]], Wanted]


def load(path: Path) -> Read:
    """Reads and validates at once, `-` is standard input.

    Raises UsageError naming file and field.
    """
    return understood(*parsed(path))


def parsed(path: Path) -> tuple[Path, Path, object]:
    """The name in messages, what the @FILEs in it are relative to, and what is in the file."""
    base = _base(path)
    if path == Path("-"):
        path, text = notation.INPUT, notation.read_input()
    else:
        text = notation.read(path)
    return path, base, notation.parse(path, text)


def understood(path: Path, base: Path, value: object) -> Read:
    """A document, from what `parsed` returns. Raises UsageError naming file and field."""
    document = forms.validate(path, Document, (), value)
    found, addresses = {}, {}
    for name, fields in document.services.items():
        with _naming(path, name):
            found[name] = forms.form(path, name, fields)
            addresses[name] = _addresses(path, base, name, found[name])
    return Read(
        forms.director(path, document.director),
        lambda present: _wanted(path, found, addresses, present),
    )


def _base(path: Path) -> Path:
    """What the @FILEs of a document are relative to."""
    piped = path == Path("-") or str(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return Path() if piped else path.parent


def _addresses(path: Path, base: Path, name: str, form: Form) -> AddressSet:
    """The service's ranges. Raises UsageError naming the wrong ones by their place in the list."""
    where, problems = f"services.{name}.ranges", list[str]()
    texts = (f"@{base / text[1:]}" if text.startswith("@") else text for text in form.ranges)
    addresses = rangelist.collect(
        texts, lambda at, e: problems.append(f"{where}.{at}: {e.in_a_line}")
    )
    if problems:
        raise forms.wrong(path, problems)
    if not (addresses or type(form) is not forms.accepted()):
        raise UsageError(
            f"{path}: {where}: acceptance only, of nothing",
            hint="name ranges, or leave the service out",
        )
    return addresses


def shown(
    services: Iterable[Held],
    *,
    most: int,
    director: Director = UNSET,
    unlisted: Mapping[str, int] = NONE,
) -> str:
    """YAML for people, with up to `most` ranges of a service; `unlisted` counts ranges left out."""
    listed = ((s, _listed(found, most, unlisted.get(s.name, 0))) for s, found in services)
    return notation.to_yaml(_plain(director, listed))


def _listed(addresses: AddressSet, most: int, unlisted: int) -> list[str]:
    more = [f"and {unlisted:,} prefixes that stay"] if unlisted else []
    if (number := addresses.count()) > most:
        return [f"{number:,} prefixes", *more]
    return [*addresses.prefixes(), *more]


def dump(services: Sequence[Held], director: Director = UNSET) -> Iterator[str]:
    """What `load` reads back, in pieces; JSON where YAML would take seconds."""
    if sum(addresses.count() for _, addresses in services) > notation.SLOW_IN_YAML:
        yield from in_json({}, services, director, indent=1)
    else:
        listed = ((service, list(addresses.prefixes())) for service, addresses in services)
        yield notation.to_yaml(_plain(director, listed))


def in_json(
    head: dict[str, object],
    services: Sequence[Held],
    director: Director = UNSET,
    indent: int | None = None,
) -> Iterator[str]:
    """The same as JSON, in pieces, behind what is in `head`."""
    form = _plain(director, ((s, [pieces.HERE] * bool(found)) for s, found in services))
    lists = (_quoted(addresses) for _, addresses in services if addresses)
    return pieces.of(head | form, lists, indent)


def _quoted(addresses: AddressSet) -> Iterator[str]:
    return (f'"{prefix}"' for prefix in addresses.prefixes())


def _plain(director: Director, services: Iterable[tuple[Service, list[str]]]) -> dict[str, object]:
    head: dict[str, object] = {"director": settings.plain(director)} if director else {}
    return head | {
        "services": {
            service.name: {"ranges": ranges, **plain(service)} for service, ranges in services
        }
    }


@contextmanager
def _naming(path: Path, name: str) -> Iterator[None]:
    """Errors name the file and the service."""
    try:
        yield
    except VipctlError as e:
        if e.message.startswith(f"{path}: "):
            raise
        raise type(e)(f"{path}: services.{name}: {e.message}", hint=e.hint) from e


def _wanted(
    path: Path,
    found: Mapping[str, Form],
    addresses: Mapping[str, AddressSet],
    present: Mapping[str, Service],
) -> Wanted:
    wanted: Wanted = {}
    best = cache(lambda proxied: methods.best(proxied=proxied))
    named = [f.fwmark for f in found.values() if f.fwmark] + [
        present[name].fwmark for name, f in found.items() if not f.fwmark and name in present
    ]
    for name, form in found.items():
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
    """The method if the file does not say: the stored one, or the best the director can use."""
    proxied = asked.proxied(form.given())
    if before is not None and before.proxied is proxied:
        return before.method
    return best(proxied)
