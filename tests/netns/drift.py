"""Somebody else damages what vipctl has in the kernel, and vipctl makes it whole again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns import snapshot


@dataclass(frozen=True)
class Drift:
    """vipctl with services stored, on a director; how to look at it, and whether it serves."""

    net: Lab
    vipctl: Vipctl
    assert_served: Callable[[Lab], None]
    look_at: Callable[[Namespace], object] = snapshot.unordered
    service: str = ""  # that has 203.0.113.0/24, and answers pings; by default that of fwmark 17

    def idle_commands(self) -> list[list[str]]:
        """Commands that change nothing where nothing is damaged."""
        owner = ["--service", self.service] if self.service else ["--fwmark", "17"]
        return [
            ["add-range", "203.0.113.0/24", *owner],
            ["remove-range", "192.0.2.64/29"],
            ["set-service", self.service or "fwmark-17", "--ping"],
        ]

    def look(self) -> object:
        """Return all that the kernel has, to compare."""
        return self.look_at(self.net.director)

    def damage(self, words: str) -> None:
        """Do what others do, behind vipctl's back, in a shell's words."""
        self.net.director.run(["sh", "-ec", words])

    def assert_whole(self, before: object) -> None:
        """All is as it was before the damage, as stored, and VIPs are served."""
        assert self.look() == before
        assert self.vipctl("status")["kernel"] == "as stored"
        self.assert_served(self.net)

    def assert_next_command_restores(self, damage: str) -> None:
        """The damage is seen, and the next command makes it whole, even if it changes nothing."""
        before = self.look()
        self.damage(damage)
        assert self.vipctl("status")["kernel"] == "differs"
        done = self.vipctl(*self.idle_commands()[0])
        assert (done["changed"], done["restored"]) == (True, True)
        self.assert_whole(before)

    def assert_only_restore_sees(self, damage: str) -> None:
        """What no other command looks for."""
        before = self.look()
        self.damage(damage)
        assert self.vipctl("status")["kernel"] == "as stored"
        self._assert_restored(before)

    def assert_restore_restores(self, damage: str) -> None:
        """So does `restore`, once; --check says that it would."""
        before = self.look()
        self.damage(damage)
        self._assert_restored(before)

    def _assert_restored(self, before: object) -> None:
        assert self.vipctl("--check", "restore")["changed"] is True
        assert self.vipctl("restore")["changed"] is True
        assert self.vipctl("restore")["changed"] is False
        self.assert_whole(before)

    def assert_check_only_reports(self, damage: str, *command: str) -> None:
        """With --check, a command tells of the damage and leaves it; without, it mends it."""
        before = self.look()
        self.damage(damage)
        damaged = snapshot.kernel(self.net.director), self.look()
        checked = self.vipctl("--check", *command)
        assert (checked["changed"], checked["restored"]) == (True, True)
        assert (snapshot.kernel(self.net.director), self.look()) == damaged
        assert self.vipctl(*command)["changed"] is True
        self.assert_whole(before)


@dataclass(frozen=True)
class Case:
    """A method: a director by it, and what others do to that."""

    director: Callable[[Lab, Path], Drift]
    damage: list[str]
    unseen: list[str]
    commonest: list[str]
