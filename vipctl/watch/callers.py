"""The other commands: they tell the daemon of their changes, and ask it what it does."""

import _socket as socket
import json
import os
import struct
import time
from contextlib import suppress

from vipctl.files import Where
from vipctl.state import runtime
from vipctl.state.runtime import Link

UCRED = struct.Struct("3i")  # include/linux/socket.h: struct ucred
LONGEST = 1000  # characters of what was done
LONGEST_LIST = 10  # of what speaks against this director


class Callers:
    """What has been heard of them, and what they are to be told."""

    def __init__(self, link: Link, state_dir: Where, *, check: bool) -> None:
        self.link = link
        self._changed: set[int] = set()  # processes that have told of a change
        self._known: set[int] = set()  # likewise, before the last look
        self._told: runtime.Answer = {
            "state_dir": os.path.realpath(state_dir),
            "pid": os.getpid(),
            "since": _now(),
            "check": check,
            "heals": 0,
            "last": None,
            "alive": None,
            "vrrp": None,
        }

    def fileno(self) -> int:
        return self.link.fileno()

    def did(self, text: str) -> None:
        """Notes what the daemon has done now."""
        self._told["heals"] += 1
        self._told["last"] = {"at": _now(), "what": text[:LONGEST]}

    def stands(self, device: str, *, fit: bool, why: list[str]) -> None:
        """Notes whether this director is fit, and what speaks against it."""
        before = self._told["alive"]
        since = before["since"] if before and before["fit"] == fit else _now()
        why = [words[:LONGEST] for words in why[:LONGEST_LIST]]
        self._told["alive"] = {"device": device, "fit": fit, "since": since, "why": why}

    def follows(self, state: str) -> None:
        """Notes the state of VRRP, "" if it is not known."""
        self._told["vrrp"] = state

    def changed(self) -> set[int]:
        """The processes that have told of a change, for this look and the next.

        What the kernel has told of their changes may be read later than their own word.
        """
        self._known, before = self._changed, self._known
        self._changed = set()
        return self._known | before

    def receive(self) -> set[bytes]:
        """Reads all that waits, and answers; what commands have told. Never blocks."""
        told = set[bytes]()
        with suppress(BlockingIOError):
            while True:
                told.add(self._one())
        return told & {runtime.CHANGED, runtime.LOADING}

    def _one(self) -> bytes:
        space = socket.CMSG_SPACE(UCRED.size)
        word, control, _, sender = self.link.recvmsg(100, space, socket.MSG_DONTWAIT)
        if word == runtime.STATUS and sender:
            with suppress(OSError):  # it has not waited
                answer = json.dumps(self._told).encode()
                self.link.sendto(answer, socket.MSG_DONTWAIT, sender)
        if word == runtime.CHANGED:
            self._changed |= {UCRED.unpack(content)[0] for _, _, content in control}
        return word


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
