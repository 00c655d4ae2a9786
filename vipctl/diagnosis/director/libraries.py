"""The Python libraries that vipctl needs, and their versions, as its own package names them."""

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well

NAME, PIP = "libraries", f"{sys.prefix}/bin/pip"
EVIDENCE = f"{PIP} list"
MODULES = {"pip-nftables": "nftables", "dnspython": "dns", "python-iptables": "iptc"}
REQUIREMENT = re.compile(r"([\w.-]+)>=([\w.]+)(?:.*extra == \W(\w+))?")


class Library(NamedTuple):
    """One that is asked for: where it is optional, `extra` says for what."""

    name: str
    least: str
    extra: str | None

    @property
    def found(self) -> bool:
        module = MODULES.get(self.name, self.name.replace("-", "_"))
        try:
            return find_spec(module) is not None
        except ModuleNotFoundError:  # of the package that it is in
            return False


def check(site: Site) -> Iterator[Step]:
    """What methods lack is told by `state`."""
    from importlib import metadata

    try:
        asked = metadata.requires("vipctl") or []
    except metadata.PackageNotFoundError:
        says = "vipctl is not installed by pip: which versions of libraries it needs is not known"
        yield unknown(NAME, says, EVIDENCE)
        return
    known = [Library(*found.groups()) for one in asked if (found := REQUIREMENT.match(one))]
    users = {None: "vipctl", **_users(site)}
    wrong = [step for one in known if one.extra in users for step in _of(one, users[one.extra])]
    yield from wrong or [
        well(NAME, "Python libraries are there, in versions that vipctl asks for", EVIDENCE)
    ]


def _users(site: Site) -> dict[str | None, str]:
    """What needs the optional ones."""
    dns = (s for s in site.services if any(check.kind == "dns" for check in s.checks))
    legacy = (s for s in site.services if s.method == "fwmark-iptables")
    found = {"dns": next(dns, None), "iptables": next(legacy, None)}
    return {extra: f"service {one.name!r}" for extra, one in found.items() if one}


def _of(library: Library, user: str) -> Iterator[Step]:
    from importlib import metadata

    name, least, extra = library
    fix, evidence = f"{PIP} install '{name}>={least}'", f"{PIP} show {name}"
    if not library.found:
        if extra != "iptables":
            says = f"{user} needs {name}, which is not installed"
            yield ill(NAME, "library-missing", says, fix, evidence)
        return
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:  # Debian's has another name
        return
    if _numbers(version) < _numbers(least):
        says = f"{name} is {version}, and {user} needs {least} or later"
        yield ill(NAME, "library-outdated", says, fix, evidence)


def _numbers(version: str) -> tuple[int, ...]:
    """
    >>> _numbers("1.0.2.post1") > _numbers("1.0.2"), _numbers("8.10") > _numbers("8.9.1")
    (True, True)
    """
    return tuple(map(int, re.findall(r"\d+", re.sub(r"(\.0+)+$", "", version))))
