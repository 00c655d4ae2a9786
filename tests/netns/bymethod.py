"""vipctl with every service accepted by one method, for tests that were written for another."""

from typing import ClassVar

from tests.harness.command import Finished, Vipctl


class ByMethod(Vipctl):
    """Its commands have the option where a service may begin."""

    __slots__ = ()
    method: ClassVar[str]

    def text(self, *words: str) -> Finished:
        """Add the option."""
        if {"add-range", "add-service"} & {*words}:
            words = (*words, "--method", self.method)
        return super().text(*words)
