"""Rules and chains of legacy iptables, by python-iptables.

A rule is a line of words as `iptables-legacy -S` prints them after the chain. Names of our chains
begin with CHAIN; in the kernel's own chains, our only rules are jumps to ours.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from typing import Any

from vipctl.errors import KernelError, Missing
from vipctl.linux.iptables import library
from vipctl.linux.iptables.ipset import SEARCH
from vipctl.linux.iptables.wording import is_ours, parsed, rule_of, target_of, words_of

Chains = dict[str, list[str]]  # rules by chain; in one of the kernel's: jumps to ours
Counted = dict[tuple[str, str], tuple[int, int]]  # packets and bytes, by chain and rule
NAMES_FILE = {4: "ip_tables_names", 6: "ip6_tables_names"}
LOCK = Path("/run/xtables.lock")
PATIENCE = 10.0  # seconds for other programs to let go of the lock
_ALONE = RLock()  # python-iptables' tables, and libxtables, are one for all threads


def probe() -> Iterator[str]:
    """Notes for the operator. Raises Missing where there are no legacy tables."""
    if find_spec("iptc") is None:
        raise Missing("python-iptables is not installed", hint=library.INSTALL)
    if shutil.which("iptables", path=SEARCH) is None:
        raise Missing("the extensions of iptables are not installed", hint="apt install iptables")
    if not _in_kernel():
        raise Missing(
            "this kernel has no legacy iptables (module iptable_mangle)", hint="use --method fwmark"
        )
    return _notes()


def _in_kernel() -> bool:
    return (
        _names_file(4).exists()
        or not library.run("modprobe", "-n", "-q", "iptable_mangle").returncode
    )


def _notes() -> Iterator[str]:
    tool = shutil.which("iptables", path=SEARCH) or ""
    ruled = any(
        "\n*" in library.run(f"{tables}-nft-save").stdout.decode()
        for tables in ("iptables", "ip6tables")
    )
    if ruled:
        yield (
            "this director has rules of iptables-nft: the kernel applies both these and vipctl's "
            "legacy ones, what either drops is dropped, and neither tool shows the other's"
        )
    if ruled or "nft" in Path(tool).resolve().name:
        yield "iptables -L does not show vipctl's rules here: iptables-legacy-save does"


def read(version: int, table: str) -> Chains:
    """What is ours in a table; nothing if the kernel has no such table yet."""
    if table not in registered(version):
        return {}
    with _open(version, table) as handle:
        return _ours(handle)


def counted(version: int, table: str, chain: str) -> dict[str, int]:
    """How many packets each rule of a chain of ours has matched."""
    if table not in registered(version):
        return {}
    with _open(version, table) as handle:
        rules = _rules(handle, _chain(handle, chain)) if handle.is_chain(chain) else []
        return {words_of(rule): rule.get_counters()[0] for rule in rules}


def registered(version: int) -> list[str]:
    """The tables that anybody has used in this network namespace."""
    with suppress(FileNotFoundError):
        return _names_file(version).read_text().split()
    return []


def replace(version: int, table: str, wanted: Chains) -> None:
    """Makes what is ours in a table `wanted`, in one step. Raises KernelError."""
    if not wanted and table not in registered(version):
        return
    with _locked(), _open(version, table) as handle:
        present = _ours(handle)
        if present != wanted:
            counted = _counted(handle, present)
            _clear(handle, present, wanted)
            _fill(handle, present, wanted, counted)
            _keep_counters(handle)
            handle.commit()


def _keep_counters(handle: Any) -> None:
    """Keeps the counters of policies; libiptc keeps those of rules, but resets these."""
    for chain in handle.chains:
        if handle.builtin_chain(chain.name):
            handle.set_policy(chain.name, *handle.get_policy(chain.name))


def _clear(handle: Any, present: Chains, wanted: Chains) -> None:
    """Removes our rules, but for jumps that may stay, and our chains that are not wanted."""
    chains = [name for name in present if not handle.builtin_chain(name)]
    for name in present.keys() - set(chains):
        if present[name] != wanted.get(name):
            for rule in _jumps(handle, name):
                _chain(handle, name).delete_rule(rule)
    for name in chains:
        handle.flush_entries(name)
    for name in chains:
        if name not in wanted:
            handle.delete_chain(name)


def _fill(handle: Any, present: Chains, wanted: Chains, counted: Counted) -> None:
    """Adds chains first, as rules jump to them. A rule that was there before counts on.

    Our jump comes after others' rules in mangle, as they may set marks too. In other tables it
    comes before them, as they could accept a packet.
    """
    chains = [name for name in wanted if not handle.builtin_chain(name)]
    for name in chains:
        if not handle.is_chain(name):
            handle.create_chain(name)
    for name in chains:
        for words in wanted[name]:
            rule = parsed(handle, words)
            rule.set_counters(counted.get((name, words), (0, 0)))
            _chain(handle, name).append_rule(rule)
    for name in wanted.keys() - set(chains):
        if present.get(name) != wanted[name]:
            for words in wanted[name]:
                _hook(handle, name, parsed(handle, words))


def _hook(handle: Any, name: str, rule: Any) -> None:
    chain = _chain(handle, name)
    if handle.name == "mangle":
        chain.append_rule(rule)
    else:
        chain.insert_rule(rule)


def _ours(handle: Any) -> Chains:
    found: Chains = {}
    for chain in handle.chains:
        if handle.builtin_chain(chain.name):
            jumps = [words_of(rule) for rule in _jumps(handle, chain.name)]
            found |= {chain.name: jumps} if jumps else {}
        elif is_ours(chain.name):
            found[chain.name] = [words_of(rule) for rule in _rules(handle, chain)]
    return found


def _counted(handle: Any, present: Chains) -> Counted:
    """What the rules of our chains have counted."""
    return {
        (name, words): rule.get_counters()
        for name, lines in present.items()
        if not handle.builtin_chain(name)
        for words, rule in zip(lines, _rules(handle, _chain(handle, name)), strict=True)
    }


def _jumps(handle: Any, name: str) -> list[Any]:
    """The rules of a chain that jump to ours. Others' rules are not parsed."""
    return _rules(handle, _chain(handle, name), lambda entry: is_ours(target_of(handle, entry)))


def _rules(
    handle: Any, chain: Any, wanted: Callable[[Any], bool] = lambda entry: True
) -> list[Any]:
    entry, found = handle.first_rule(chain.name), []
    while entry:
        if wanted(entry):
            found.append(rule_of(handle, entry, chain))
        entry = handle.next_rule(entry)
    return found


def _chain(handle: Any, name: str) -> Any:
    return library.load().Chain(handle, name)


@contextmanager
def _open(version: int, table: str) -> Iterator[Any]:
    """The table as it is now, for one thread at a time; nothing is changed without a commit."""
    with _ALONE, _opened(library.load(), version, table) as handle:
        yield handle


@contextmanager
def _opened(iptc: Any, version: int, table: str) -> Iterator[Any]:
    try:
        handle = (iptc.Table if version == 4 else iptc.Table6)(table, autocommit=False)
        handle.refresh()  # it may be a cached one, of another namespace
        try:
            yield handle
        finally:
            handle.close()
    except (iptc.IPTCError, iptc.XTablesError, ValueError) as e:
        words = re.sub(r"b'(.*)'", r"\1", str(e))
        raise KernelError(
            f"table {table} of IPv{version}: {words}",
            hint="see what is there: iptables-legacy-save, ip6tables-legacy-save; dmesg",
        ) from e


@contextmanager
def _locked() -> Iterator[None]:
    """Holds the lock of iptables-legacy: of two changes at the same time, one would be lost."""
    descriptor = os.open(LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            if time.monotonic() > deadline:
                raise KernelError(
                    f"another program has held {LOCK} for {PATIENCE:.0f} seconds",
                    hint=f"see which: fuser -v {LOCK}; then try again",
                ) from e
        time.sleep(0.05)


def _names_file(version: int) -> Path:
    return Path("/proc/thread-self/net") / NAMES_FILE[version]
