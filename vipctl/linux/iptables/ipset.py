"""The command ipset, which is run here only.

Sets are of type hash:net, from prefix to mark: a lookup finds the longest prefix. What changes them
goes through `ipset restore`, line by line, or in bulk through `members`. Reading a header costs the
kernel a walk over empty and full buckets alike, 40 ms for a million prefixes.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TextIO, cast

from vipctl import log
from vipctl.errors import KernelError, Missing

SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"  # cron has no sbin
MAX_ELEMENTS = 1 << 24
FAMILY = {4: "inet", 6: "inet6"}
BATCH = 1000  # lines of a write
MOST_IN_WORDS = 1000  # members that go to the command as text; more are packed by `members`
VOLATILE = re.compile(r"(hashsize|bucketsize|initval) \S+ ?")
UNSPECIFIED = {4: "0.0.0.0", 6: "::"}  # noqa: S104 (no VIP is, nothing binds)


@dataclass(frozen=True, slots=True)
class Header:
    """A set without its members."""

    kind: str
    options: str

    def fits(self, version: int) -> bool:
        """Whether `create` would have made it."""
        wanted = f"family {FAMILY[version]} maxelem {MAX_ELEMENTS} skbinfo"
        return self.kind == "hash:net" and VOLATILE.sub("", self.options).strip() == wanted


def probe() -> None:
    """Raises Missing where there is no ipset, in userspace or in the kernel."""
    if _program() is None:
        raise Missing("the command ipset is not installed", hint="apt install ipset")
    _output("list", "-n")


def create(name: str, version: int, size: int = 0) -> str:
    """The line that creates a set, large enough for `size` members not to make it grow."""
    room = f"hashsize {1 << (size // 2).bit_length()} " if size > MOST_IN_WORDS else ""
    kind = f"hash:net family {FAMILY[version]} {room}maxelem {MAX_ELEMENTS} skbinfo"
    return f"create {name} {kind}\n"


def add(name: str, prefix: str, mark: int) -> str:
    return f"add {name} {prefix} skbmark {mark:#x}/0xffffffff\n"


def keep_length(name: str, version: int, length: int) -> str:
    """The line that adds a member which no lookup finds: it keeps a prefix length in use.

    When the last prefix of a length goes, the kernel moves the following lengths up by one
    (mtype_del_cidr in ip_set_hash_gen.h), and a lookup at that moment misses one of them. The
    member covers no VIP: it begins at the unspecified address, and a prefix of VIPs never does.
    """
    return f"add {name} {UNSPECIFIED[version]}/{length} nomatch\n"


def delete(name: str, prefix: str) -> str:
    return f"del {name} {prefix}\n"


def swap(left: str, right: str) -> str:
    return f"swap {left} {right}\n"


def destroy(name: str) -> str:
    return f"destroy {name}\n"


def restore(lines: Iterable[str]) -> None:
    """Runs the lines in order, up to the first that fails. Raises KernelError with ipset's words.

    Adding what exists and deleting what does not are not errors.
    """
    stream = iter(lines)
    first = list(islice(stream, BATCH))
    if not first:
        return
    with _start("-exist", "restore") as running:
        with suppress(BrokenPipeError):  # it ended, and says why
            _feed(cast(TextIO, running.stdin), first, stream)
        _, error = running.communicate()
    if running.returncode:
        raise _said(error)


def _feed(pipe: TextIO, batch: list[str], stream: Iterator[str]) -> None:
    while batch:
        log.debug("ipset: %s%s", batch[0].strip(), f" … {len(batch)}" if len(batch) > 1 else "")
        pipe.write("".join(batch))
        batch = list(islice(stream, BATCH))


def names() -> list[str]:
    """All sets of this network namespace, whoever made them; none if there is no ipset."""
    return _output("list", "-n").split() if _program() else []


def headers() -> dict[str, Header]:
    """All sets by their names: slow where they are large. Raises Missing if there is no ipset."""
    blocks = _output("list", "-t").split("\n\n")
    fields = (dict(re.findall(r"^([^:\n]+): ?(.*)$", block, re.MULTILINE)) for block in blocks)
    return {
        found["Name"]: Header(found["Type"], found["Header"]) for found in fields if "Name" in found
    }


def _output(*arguments: str) -> str:
    with _start(*arguments) as running:
        output, error = running.communicate()
    if running.returncode:
        raise _said(error)
    return output


def _program() -> str | None:
    return shutil.which("ipset", path=SEARCH)


def _start(*arguments: str) -> "subprocess.Popen[str]":
    program = _program()
    if program is None:
        raise Missing("the command ipset is not installed", hint="apt install ipset")
    return subprocess.Popen(  # noqa: S603 (a list of words, no shell)
        [program, *arguments],
        env={"LC_ALL": "C"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _said(error: str) -> KernelError | Missing:
    words = re.sub(r"^ipset v\S+: ", "", error.strip())[:300] or "no reason given"
    if "Operation not permitted" in words:
        return Missing("ipset: no permission", hint="run as root (CAP_NET_ADMIN)")
    if "Cannot open session" in words or "Kernel support" in words:
        return Missing(f"ipset: {words}", hint="the kernel needs ip_set: modprobe ip_set_hash_net")
    return KernelError(f"ipset: {words}", hint="see what is there: ipset list -t")
