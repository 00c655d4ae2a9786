"""The type of a vipctl that changes nothing, for the tests that are given one."""

from collections.abc import Callable

from tests.harness.command import Finished

Vipctl = Callable[..., Finished]
