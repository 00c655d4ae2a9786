"""What is kept without systemd: lines of syslog."""

import os
import socket
from pathlib import Path

import pytest

from vipctl.watch import journal
from vipctl.watch.journal import Level


def test_syslog_gets_it_where_there_is_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "JOURNAL", str(tmp_path / "none"))
    monkeypatch.setattr(journal, "SYSLOG", str(tmp_path / "log"))
    journal.record(Level.NOTICE, "nobody keeps this")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        journal.record(Level.NOTICE, "vipctl restore:\nchanged", OUTCOME="changed")
        assert log.recv(1000).decode() == f"<13>vipctl[{os.getpid()}]: vipctl restore: changed"
