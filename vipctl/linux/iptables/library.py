"""Loads python-iptables, with workarounds: how it finds its library, and a newer struct size."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vipctl.errors import Missing
from vipctl.linux.iptables.ipset import SEARCH

WIDER = (1, 8, 11)  # of iptables: options of its extensions have one more field
INSTALL = f"apt install iptables gcc python3-dev; {sys.prefix}/bin/pip install python-iptables"


@cache
def load() -> Any:
    """The module `iptc`, told where its own library is: else it would run the C compiler for that.

    It would import distutils too, if there is one, as from setuptools, which is slow: sysconfig
    tells it the same. Raises Missing.
    """
    wrapper = find_spec("libxtwrapper")
    if wrapper is not None and wrapper.origin:
        os.environ.setdefault("IPTABLES_LIBDIR", str(Path(wrapper.origin).parent))
    absent = sys.modules.setdefault("distutils", None) is None  # type: ignore[arg-type]
    try:
        import iptc  # type: ignore[import-untyped]
    except Exception as e:  # whatever it does where a library is not there
        raise Missing(f"python-iptables cannot be used: {e}", hint=INSTALL) from e
    finally:
        if absent:
            del sys.modules["distutils"]
    if _version() >= WIDER:
        _widen(iptc.xtables)
    return iptc


def _version() -> tuple[int, ...]:
    """The version of iptables, whose libxtables python-iptables uses; its soname says less."""
    said = run("iptables", "--version").stdout.decode()
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def _widen(xtables: Any) -> None:
    """Gives python-iptables the right size of `struct xt_option_entry` (xtables.h).

    Since WIDER, the struct has one field more than python-iptables knows.
    """
    known = xtables.xt_option_entry

    class Wider(known):  # type: ignore[misc, valid-type]
        _fields_ = (("base", ctypes.c_uint),)

    def widened(entries: Any) -> Any:
        return ctypes.cast(entries, ctypes.POINTER(Wider))

    look_up, check = xtables.xtables._option_lookup, xtables.xtables._options_fcheck

    def find(self: Any, entries: Any, name: bytes) -> Any:
        found = look_up(self, widened(entries), name)
        return found and ctypes.cast(ctypes.pointer(found), ctypes.POINTER(known)).contents

    xtables.xtables._option_lookup = find
    xtables.xtables._options_fcheck = lambda self, name, flags, entries: check(
        self, name, flags, widened(entries)
    )


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    found = shutil.which(program, path=SEARCH)
    if found is None:
        return subprocess.CompletedProcess((), 127, b"", b"")
    return subprocess.run([found, *arguments], capture_output=True, check=False)  # noqa: S603
