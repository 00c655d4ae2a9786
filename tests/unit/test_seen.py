"""What is wrong with a list is said by what is seen there, and nothing that is read can hang."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.checked import Vipctl
from vipctl.addresses.prefixes import parse_range
from vipctl.errors import UsageError
from vipctl.operate import rangelist

STRANGE = {
    "a byte order mark": ("\ufeff203.0.113.0/24", "BYTE ORDER MARK (U+FEFF)"),
    "a no-break space": ("203.0.113.1 -\xa0203.0.113.9", "NO-BREAK SPACE (U+00A0)"),
    "a no-break space at the end": ("203.0.113.1\xa0", "NO-BREAK SPACE (U+00A0)"),
    "a dash": ("203.0.113.1–203.0.113.9", "EN DASH (U+2013)"),
    "a minus": ("203.0.113.1−203.0.113.9", "MINUS SIGN (U+2212)"),
    "a zero-width space": ("203.0.113.1\u200b", "ZERO WIDTH SPACE (U+200B)"),
    "digits of another script": ("203.0.113.١", "ARABIC-INDIC DIGIT ONE (U+0661)"),
    "bytes of another encoding": (os.fsdecode(b"203.0.113.1\x96203.0.113.9"), "(U+DC96)"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_only_looks_like_an_address_is_named(vipctl_check: Vipctl, kind: str) -> None:
    text, name = STRANGE[kind]
    done = vipctl_check("add-range", text, "--service=web", "--real=10.0.1.11")
    assert done.code == 2
    assert name in done.stderr
    real = vipctl_check("add-service", "web", "--real", text)
    assert (real.code, name in real.stderr) == (2, True)


@pytest.mark.parametrize("kind", [kind for kind in STRANGE if kind != "bytes of another encoding"])
@pytest.mark.parametrize("form", ["list", "document"])
def test_in_a_file_it_is_named_with_its_place(
    vipctl_check: Vipctl, tmp_path: Path, kind: str, form: str
) -> None:
    text, name = STRANGE[kind]
    file = tmp_path / "file"
    if form == "list":
        file.write_text(f"# –\n{text}\n")
        done = vipctl_check("add-range", f"@{file}", "--service=web", "--real=10.0.1.11")
        assert f"{file}:2: " in done.stderr
    else:
        file.write_text(f'services:\n  web:\n    ranges: ["203.0.113.77", "{text}"]\n')
        done = vipctl_check("apply", str(file))
        assert "services.web.ranges.1: " in done.stderr
    assert (done.code, name in done.stderr) == (2, True)


def test_a_byte_order_mark_may_begin_a_document(vipctl_check: Vipctl, tmp_path: Path) -> None:
    for number, text in enumerate(("services: {}\n", '{"services": {}}')):
        (tmp_path / str(number)).write_text(text, encoding="utf-8-sig")
        assert vipctl_check("apply", str(tmp_path / str(number))).code == 0


UNQUOTED = {
    "a list in a line": "ranges: [2001:db8:: , 203.0.113.0/24]",
    "a list of lines": "ranges:\n    - 2001:db8::\n    - 203.0.113.0/24",
    "a real server": "ranges: [203.0.113.0/24]\n    reals:\n    - 2001:db8::",
    "a number": "ranges: [17]",
}


@pytest.mark.parametrize("kind", UNQUOTED)
def test_an_address_that_yaml_takes_for_something_else(
    vipctl_check: Vipctl, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "file").write_text(f"services:\n  web:\n    {UNQUOTED[kind]}\n")
    done = vipctl_check("apply", str(tmp_path / "file"))
    assert done.code == 2
    assert "quote it" in done.stderr
    assert kind == "a number" or 'quote it: "2001:db8::"' in done.stderr


def test_an_address_that_makes_yaml_fail(vipctl_check: Vipctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("services:\n  web:\n    ranges: 2001:db8::\n")
    done = vipctl_check("apply", str(tmp_path / "file"))
    assert (done.code, "quotes" in done.stderr) == (2, True)


# what is read: files, pipes, nothing else that waits


def vipctl(shell: str, directory: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """A process of its own: pipes are the shell's."""
    program = f"{sys.executable} -m vipctl --check --state-dir {directory}/state"
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        ["bash", "-c", shell.replace("vipctl", program)],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(Path(rangelist.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


@pytest.mark.parametrize("words", ["add-range @fifo --fwmark 17", "apply fifo"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path, words: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = vipctl(f"vipctl {words}", tmp_path)
    assert (done.returncode, "a pipe that nobody writes to" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        "add-range @<(sleep 0.2; echo 203.0.113.0/24) --fwmark 17",
        "add-range @<(echo 203.0.113.0/24) --fwmark 17",
        "add-range @fifo --fwmark 17 & (sleep 0.2; echo 203.0.113.0/24) > fifo; wait %1",
        "add-range - --fwmark 17 < list",
        "add-range @/dev/stdin --fwmark 17 < list",
        "apply <(echo '{services: {fwmark-17: {ranges: [\"@list\"]}}}')",
        "apply - < here/document",
        "apply /dev/stdin < here/document",
        "apply here/there",
    ],
)
def test_what_can_be_read(tmp_path: Path, words: str) -> None:
    (tmp_path / "list").write_text("203.0.113.0/24\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/document").write_text('{services: {fwmark-17: {ranges: ["@list"]}}}')
    (tmp_path / "here/there").write_text('{services: {fwmark-17: {ranges: ["@../list"]}}}')
    fifo = "mkfifo fifo; " if "fifo" in words else ""
    done = vipctl(f"{fifo}vipctl {words}", tmp_path)
    assert done.returncode == 0, done
    assert "256 addresses" in done.stdout


def test_a_name_with_a_nul(vipctl_check: Vipctl, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="NUL"):
        rangelist.read(["@a\0b"])
    (tmp_path / "file").write_text('services: {web: {ranges: ["@a\\0b"]}}')
    done = vipctl_check("apply", str(tmp_path / "file"))
    assert (done.code, "NUL" in done.stderr) == (2, True)


ESCAPES = ("\x1b[2J", "\x9b2J", "\r", "\n", "\u202e", "\x7f")


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize(
    "document",
    [
        'services: {"we%s": {}}',
        'services: {web: {"we%s": 1}}',
        'services: {web: {ranges: ["@we%s"]}}',
        'services: {web: {ranges: ["we%s"]}}',
        'services: {web: {reals: ["we%s"]}}',
        'services: {web: {method: "we%s"}}',
        'services: {fwmark-17: {}, "fwmark-we%s": {}}',
    ],
)
def test_no_escape_reaches_the_terminal(
    vipctl_check: Vipctl, tmp_path: Path, document: str, escape: str
) -> None:
    quoted = f"\\u{ord(escape[0]):04x}{escape[1:]}"
    (tmp_path / "file").write_text(document.replace("%s", quoted))
    done = vipctl_check("apply", str(tmp_path / "file"))
    assert done.code == 2
    assert len(done.stderr.splitlines()) == 2
    assert all(c.isprintable() for c in done.stderr.replace("\n", ""))


@pytest.mark.parametrize("escape", ESCAPES)
def test_nor_from_the_command_line(vipctl_check: Vipctl, escape: str) -> None:
    for words in (
        ["apply", f"/none{escape}"],
        ["add-range", f"@/none{escape}", "--fwmark", "17"],
        [f"sta{escape}tus"],
        ["status", f"--a{escape}"],
        ["add-service", "web", "--method", f"a{escape}"],
        ["list-ranges", "--service", f"a{escape}"],
    ):
        done = vipctl_check(*words)
        assert done.code in (2, 3), words
        assert all(c.isprintable() for c in done.stderr.replace("\n", "")), words


def test_ranges_are_read_as_before() -> None:
    assert parse_range("203.0.113.1 - 203.0.113.9")[0] == 4
