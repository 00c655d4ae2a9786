"""A director on which nothing has been done, and vipctl on it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import settings

from tests.harness.command import Finished
from tests.harness.netns import Namespace
from tests.unit.checked import Vipctl
from vipctl.cli import run

# Machines that run tests are slow at times, and the suite is to be quick all the same. What is run
# besides, with other versions and on new machines, has fewer.
EXAMPLES = int(os.environ.get("EXAMPLES", "60"))
settings.register_profile("unit", max_examples=EXAMPLES, deadline=None)
settings.load_profile("unit")


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    """A director on which nothing has been done."""
    found = Namespace.create("cli")
    yield found
    found.close()


@pytest.fixture
def vipctl_check(host: Namespace, tmp_path: Path) -> Vipctl:
    """vipctl --check with an empty state, reading nothing from standard input."""

    def call(*words: str) -> Finished:
        stdout, stderr, stdin = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO())
        try:
            with host, redirect_stdout(stdout), redirect_stderr(stderr):
                code = run(["--check", "--state-dir", str(tmp_path / "state"), *words])
        finally:
            sys.stdin = stdin
        return Finished(code, stdout.getvalue(), stderr.getvalue())

    return call
