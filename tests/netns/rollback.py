"""The kernel refuses a command half-way, at each of its messages once."""

import json
from pathlib import Path

from tests.harness.command import Vipctl
from tests.netns import snapshot
from tests.netns.moments import moments
from tests.netns.zygote import Zygote


def assert_any_message_can_fail(
    stored: Vipctl, without_buffers: Zygote, directory: Path, command: str, applied: str
) -> None:
    """Each time the command fails, and kernel and stored state are as they were.

    It may apply `{file}`, which is written for it.
    """
    file, before = directory / "file", directory / "before"
    file.write_text(applied)
    words = command.format(file=file).split()
    before.write_text(stored.text("export").stdout)
    kernel, exported = snapshot.unordered(stored.host), stored("export")
    when = moments(stored, directory / "trace", *words)
    stored("apply", str(before))
    messages = [(call, number) for call, number in when if call.startswith("send")]
    for moment in messages:
        done = without_buffers.run(stored, *words, strike_at=moment)
        assert (done.code, json.loads(done.stdout)["error"]["kind"]) == (4, "kernel"), done
        assert stored("export") == exported, moment
        assert stored("status")["kernel"] == "as stored", moment
        assert snapshot.unordered(stored.host) == kernel, moment
    assert messages
