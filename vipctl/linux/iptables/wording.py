"""A rule of legacy iptables in words, as `iptables-legacy -S` prints it after the chain, and back.

python-iptables (1.2.0) opens every table, nat too, to tell whether a target is a chain, and keeps
them open for other namespaces and later: `rule_of` gives its rules the one table that is open.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vipctl.linux.iptables import library

CHAIN = "VIPCTL"


def is_ours(name: str) -> bool:
    return name == CHAIN or name.startswith(f"{CHAIN}-")


def rule_of(handle: Any, entry: Any = None, chain: Any = None) -> Any:
    iptc = library.load()
    base = iptc.Rule6 if isinstance(handle, iptc.Table6) else iptc.Rule
    if entry is not None:
        _know(base().nfproto, target_of(handle, entry))
    return type("Rule", (base,), {"tables": [handle]})(entry, chain)


def target_of(handle: Any, entry: Any) -> str:
    """What a rule jumps to, be it a chain."""
    name: bytes = handle.get_target(entry) or b""
    return name.decode()


def parsed(handle: Any, words: str) -> Any:
    rule = part = rule_of(handle)
    for option in re.split(r" (?=-)", words):
        name, *values = option.split()
        if name == "-p":
            rule.protocol = values[0]
        elif name == "-m":
            part = rule.create_match(values[0])
        elif name == "-j":
            part = _create_target(rule, values[0])
        else:
            part.set_parameter(name.removeprefix("--"), values)
    return rule


def _create_target(rule: Any, name: str) -> Any:
    _know(rule.nfproto, name)
    return rule.create_target(name)


def _know(protocol: int, name: str) -> None:
    """Loads a target's extension for an IP version.

    libxtables registers the targets of only one IP version from a file, and never loads a file
    twice. Where one file has those of both (REDIRECT since 1.8.9), a copy is loaded for the second.
    """
    xtables = library.load().xtables
    known = xtables.xtables(protocol)
    extension = Path(xtables._xtables_libdir, f"libxt_{name}.so")
    if extension.exists() and not known.find_target(name):
        with os.fdopen(os.memfd_create(name), "wb") as copy:
            copy.write(extension.read_bytes())
            copy.flush()
            ctypes.CDLL(f"/proc/self/fd/{copy.fileno()}")
        known._xtinit(protocol)  # or it would remember that there was none


def words_of(rule: Any) -> str:
    """The rule as words. Addresses and interfaces, which vipctl never uses, come out otherwise."""
    iptc = library.load()
    found = iptc.easy.decode_iptc_rule(rule, ipv6=isinstance(rule, iptc.Rule6))
    found.pop("counters")
    return " ".join(_option(name, value) for name, value in found.items())


def _option(name: str, value: Any) -> str:
    if name == "protocol":
        return f"-p {value}"
    if name == "target" and isinstance(value, str):
        return f"-j {value}"
    if not isinstance(value, dict):
        return f"--{name} {value}"
    if name != "target":
        return " ".join([f"-m {name}", *_parameters(value)])
    ((target, parameters),) = value.items()
    if not isinstance(parameters, dict):
        return f"-g {parameters}"
    return " ".join([f"-j {target}", *_parameters(parameters)])


def _parameters(parameters: dict[str, Any]) -> Iterator[str]:
    for name, value in parameters.items():
        values = [value] if isinstance(value, str) else value
        yield " ".join([f"--{name}", *filter(None, values)])
