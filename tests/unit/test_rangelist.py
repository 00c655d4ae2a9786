"""RANGE words that name files and standard input: every kind of input, in bounded time."""

import io
import os
import sys
import threading
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from vipctl.addresses.prefixes import AddressSet
from vipctl.errors import Refused, UsageError
from vipctl.operate import rangelist

MILLION = 1_000_000


def read_words(*words: str) -> AddressSet:
    return rangelist.read(words, lambda _: None)


def read(directory: Path, content: bytes) -> AddressSet:
    """What a file with this content stands for; it is called `list` in messages."""
    file = directory / "list"
    file.write_bytes(content)
    return read_words(f"@{file}")


def texts(found: AddressSet) -> list[str]:
    return [str(prefix) for prefix in found.prefixes()]


# what is read


@pytest.mark.parametrize(
    "content",
    [
        b"203.0.113.0/25\n203.0.113.128/25\n",
        b"203.0.113.0/24",
        b"203.0.113.0/24\r\n",
        b"\r\n  203.0.113.0/24\t\r\n\r\n",
        b"# VIPs\n203.0.113.0/24 # the block\n#203.0.114.0/24\n",
        b"203.0.113.0/24#\n",
        "# gehört uns\n203.0.113.0/24 # schön\n".encode(),
        b"# \xff\xfe\n203.0.113.0/24 # \xff\n",
        b"203.0.113.0/24\n" * 3,
        b"203.0.113.7\n203.0.113.0/24\n203.0.113.0-203.0.113.99\n",
        b"203.0.113.0 - 203.0.113.255\n",
    ],
    ids=range(11),
)
def test_files(tmp_path: Path, content: bytes) -> None:
    assert texts(read(tmp_path, content)) == ["203.0.113.0/24"]


@pytest.mark.parametrize("length", [254, 255, 256, 257, 300, 512, 5000])
@pytest.mark.parametrize("word", ["", "203.0.113.7 "])
def test_a_long_comment_is_a_comment_to_its_end(tmp_path: Path, length: int, word: str) -> None:
    comment = f"{word}# ".ljust(length, "x") + " 192.0.2.0/24"
    found = read(tmp_path, f"{comment}\n203.0.113.7\n".encode())
    assert texts(found) == ["203.0.113.7/32"]


def test_lines_after_a_long_comment_keep_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"list:3: 'junk'"):
        read(tmp_path, b"# " + b"x" * 2000 + b"\n203.0.113.7\njunk\n")


def test_words_files_and_standard_input_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "list").write_text("203.0.113.64/26\n")
    piped = io.TextIOWrapper(io.BytesIO(b"203.0.113.128/25\n# done\n"))
    monkeypatch.setattr(sys, "stdin", piped)
    found = read_words("203.0.113.0/26", f"@{tmp_path / 'list'}", "-", "2001:db8::1")
    assert texts(found) == ["203.0.113.0/24", "2001:db8::1/128"]


def test_a_pipe_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=(tmp_path / "pipe").write_text, args=("203.0.113.7\n",), daemon=True
    )
    writer.start()
    assert texts(read_words(f"@{tmp_path / 'pipe'}")) == ["203.0.113.7/32"]
    writer.join(20)


# what is refused


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"203.0.113.7\njunk\n", 2),
        (b"\n\n# x\n203.0.113.7 203.0.113.8\n", 4),
        (b"203.0.113.7\n203.0.113.0/33\n", 2),
        (b"203.0.113.7\0\n", 1),
        (b"203.0.113.7\n\0\n", 2),
        (b"203.0.113.7\n\xff\xfe\n", 2),
        (b"\xef\xbb\xbf203.0.113.7\n", 1),
        ("203.0.113.7\n２03.0.113.8\n".encode(), 2),
        ("203.0.113.7\n".encode("utf-16"), 1),
        (b"203.0.113.7\n@list\n", 2),
        (b"203.0.113.7\n-\n", 2),
        (b"203.0.113.7\n" + b"1" * 300 + b"\n", 2),
        (b"203.0.113.7,203.0.113.8\n", 1),
        (b"203.0.113.7\n203.0.113.8\xa0\n", 2),
    ],
    ids=range(14),
)
def test_a_bad_line_is_a_usage_error_with_its_number(
    tmp_path: Path, content: bytes, line: int
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    assert f"{tmp_path / 'list'}:{line}: " in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["203.0.113.7/24", "127.0.0.1", "::/0", "ff02::1"])
def test_a_line_that_is_no_good_is_refused_with_its_number(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused) as caught:
        read(tmp_path, f"203.0.113.7\n{text}\n".encode())
    assert f"list:2: {text}" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"# nothing\n", b"  \r\n#\n"])
def test_a_file_without_a_range_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError, match="no range"):
        read(tmp_path, content)


def test_no_word_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no range"):
        read_words()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none: No such file"):
        read_words(f"@{tmp_path}/none")


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{tmp_path}: Is a directory"):
        read_words(f"@{tmp_path}")


@pytest.mark.parametrize("name", ["", "\udcff", "x" * 5000])
def test_a_name_that_no_file_has_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_words(f"@{name}")


def test_a_closed_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `vipctl … - <&-`
    with pytest.raises(UsageError, match="standard input"):
        read_words("-")


def test_standard_input_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").touch()
    with (tmp_path / "out").open("w") as writable:  # `vipctl … - 0>out`
        monkeypatch.setattr(sys, "stdin", writable)
        with pytest.raises(UsageError, match="standard input"):
            read_words("-")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_endless_binary_input_is_refused_at_once(device: str) -> None:
    with pytest.raises(UsageError, match=rf"{device}:\d+: "):
        read_words(f"@{device}")


# a million lines


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """A million addresses of which no two are neighbours."""
    return [
        b"100.%d.%d.%d\n" % (64 + (n >> 16), n >> 8 & 255, n & 255)
        for n in range(0, 2 * MILLION, 2)
    ]


def test_a_million_lines_are_read_with_signs_of_life(tmp_path: Path, lines: list[bytes]) -> None:
    said: list[str] = []
    (tmp_path / "list").write_bytes(b"".join(lines))
    found = rangelist.read([f"@{tmp_path / 'list'}"], said.append)
    assert found.size() == len(found.v4) == MILLION
    last = IPv4Address(lines[-1].decode().strip())
    assert last in found
    assert last + 1 not in found
    assert 5 <= len(said) <= 100
    assert all(str(tmp_path / "list") in words for words in said)


def test_a_bad_line_among_a_million_is_found(tmp_path: Path, lines: list[bytes]) -> None:
    bad = MILLION // 3
    content = b"".join([*lines[: bad - 1], b"203.0.113.300\n", *lines[bad:]])
    with pytest.raises(UsageError, match=rf"list:{bad}: '203\.0\.113\.300'"):
        read(tmp_path, content)


def test_a_line_repeated_over_and_over_is_one_prefix(tmp_path: Path) -> None:
    found = read(tmp_path, b"203.0.113.0/24\n" * (MILLION // 20))
    assert list(found.prefixes()) == ["203.0.113.0/24"]
