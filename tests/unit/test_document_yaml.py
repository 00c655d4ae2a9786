"""`apply` files that are no YAML, no text, no file; or YAML made to do harm."""

import multiprocessing
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vipctl.errors import Refused, UsageError
from vipctl.operate import document

MEMORY = 512 << 20
CPU_SECONDS = 4

same_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)


def refusal(directory: Path, content: str | bytes) -> UsageError:
    file = directory / "vips.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as caught:
        document.load(file).services({})
    assert str(file) in caught.value.message
    assert caught.value.hint
    return caught.value


# not the structure


@pytest.mark.parametrize("content", ["[]", "0", "false", "''", "[web]", "web", "5", "!!set {a}"])
def test_a_document_that_is_no_mapping(tmp_path: Path, content: str) -> None:
    refusal(tmp_path, content)


@pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "---\n", "null", "~"])
def test_an_empty_file_does_not_end_every_service(tmp_path: Path, content: str) -> None:
    """More likely the writer's disk was full; nothing at all is `services: {}`."""
    assert "services" in str(refusal(tmp_path, content))


@pytest.mark.parametrize("key", ["service", "Services", "web", "version", "5", "{a: b}"])
def test_an_unknown_key_at_the_top(tmp_path: Path, key: str) -> None:
    error = refusal(tmp_path, f"services: {{}}\n? {key}\n: 1\n")
    assert key in error.message or "unhashable" in error.message


# not YAML


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("services:\n  web: {\n", 3),
        ("services:\n  web: ]\n", 2),
        ("services:\n\tweb: {}\n", 2),
        ("services:\n  web: {}\n web2: {}\n", 3),
        ("services:\n  web: a: b\n", 2),
        ("services:\n  web: 'open\n", 3),
        ("services: {}\n---\nservices: {}\n", 2),
        ("services: {}\nservices: {}\n", 2),
        ("services: *web\n", 1),
        ("services: &a\n  <<: 5\n", 2),
        ("services: !!python/object:os.system x\n", 1),
        ("%YAML 9.9\n---\nservices: {}\n", 1),
        ("services: `web`\n", 1),
        ("services: !!binary x\n", 1),
    ],
)
def test_a_yaml_error_names_its_line(tmp_path: Path, content: str, line: int) -> None:
    assert f"line {line}" in refusal(tmp_path, content).message


@pytest.mark.parametrize(
    "value",
    [
        *("2001-99-99", "!!timestamp 2001-02-30", "!!int x", "!!int ''", "!!float x", "!!bool x"),
        *("0x_", "0b_", "0o_", "-_", "._", "9" * 5000),
    ],
)
def test_a_value_that_is_not_of_its_own_kind(tmp_path: Path, value: str) -> None:
    refusal(tmp_path, f"services: {{web: {{persistence: {value}}}}}")


FRAGMENTS = (
    *("services: ", "web", "ranges", "reals", "203.0.113.0/24", "10.0.1.11", "null", "~", "0x1"),
    *("\n", "\n  ", "\n    ", "- ", ": ", ", ", "[", "]", "{", "}", "'", '"', "|", ">", "# ", "? "),
    *("&a ", "*a", "<<: ", "!", "!!int ", "!!set ", "---\n", "...\n", "%YAML 1.1\n", "1e3", ".inf"),
    *("2001-13-01", "\t", "\0", "é", "\ufeff", "\x85"),
)


@same_directory
@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
@example(parts=["? ", "- ", "services: "])
def test_anything_is_read_or_refused(tmp_path: Path, parts: list[str]) -> None:
    file = tmp_path / "vips.yaml"
    file.write_text("".join(parts))
    message = str(file)
    try:
        document.load(file).services({})
    except (UsageError, Refused) as refused:
        message = refused.message
    assert str(file) in message


@pytest.mark.filterwarnings("error")
def test_an_anchor_given_twice_is_no_python_warning(tmp_path: Path) -> None:
    file = tmp_path / "vips.yaml"
    file.write_text("services: &a {web: &a {}}")
    with suppress(UsageError):
        document.load(file)


def test_a_long_word_is_not_repeated_in_full(tmp_path: Path) -> None:
    error = refusal(tmp_path, "services: {web: {ranges: ['" + "1" * (1 << 20) + "']}}")
    assert "services.web.ranges.0: '1111" in error.message
    assert len(error.message) < 4000


# not a text, not a file


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfes\0", b"\x80", b"services: \xff", "services: {}".encode("utf-16")],
    ids=range(4),
)
def test_what_is_no_text(tmp_path: Path, content: bytes) -> None:
    assert "not a UTF-8 text" in refusal(tmp_path, content).message


@pytest.mark.parametrize("content", ["services: {}\n\0", "services: \x1b", "\x07"])
def test_a_text_with_control_characters(tmp_path: Path, content: str) -> None:
    assert "special characters are not allowed" in refusal(tmp_path, content).message


def test_a_byte_order_mark_is_no_junk(tmp_path: Path) -> None:
    (tmp_path / "vips.yaml").write_bytes(b"\xef\xbb\xbfservices: {}\r\n")
    assert document.load(tmp_path / "vips.yaml").services({}) == {}


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none: No such file"):
        document.load(tmp_path / "none")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{tmp_path}: Is a directory"):
        document.load(tmp_path)


# made to do harm


def laughs(depth: int) -> str:
    """Lists of ten aliases of lists of ten aliases of …"""
    lists = ["    junk0: &a0 [x]"] + [
        f"    junk{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)
    ]
    return "\n".join(["services:", "  web:", *lists, f"    ranges: *a{depth - 1}", ""])


def merges(depth: int) -> str:
    """Mappings that merge ten times the one before, key by key."""
    mappings = ["  a0: &a0 {junk: x}"] + [
        f"  a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, depth)
    ]
    return "\n".join(["services:", *mappings, ""])


BOMBS = {
    "aliases": laughs(12),
    "merge keys": merges(10),
    "aliases of itself": "services: &a\n  web: *a\n",
    "a list in itself": "services: {web: {ranges: &a [*a]}}",
    "deep lists": "services: " + "[" * 800,
    "deep mappings": "services: " + "{a: " * 3000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(2000)),
}


def read_within_bounds(file: Path) -> int | None:
    """The exit code that reading it comes to, in a child with little memory and time."""

    def read() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        try:
            document.load(file).services({})
        except UsageError as refused:
            os._exit(refused.exit_code)

    child = multiprocessing.get_context("fork").Process(target=read)
    child.start()
    child.join()
    return child.exitcode


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_in_little_time_and_memory(tmp_path: Path, kind: str) -> None:
    (tmp_path / "vips.yaml").write_text(BOMBS[kind])
    assert read_within_bounds(tmp_path / "vips.yaml") == UsageError.exit_code


def test_a_document_is_not_deep(tmp_path: Path) -> None:
    (tmp_path / "vips.yaml").write_text("services: " + "[" * 9 + "]" * 9)
    with pytest.raises(UsageError, match="nested too deeply"):
        document.load(tmp_path / "vips.yaml").services({})


def test_endless_input_is_refused_in_little_time_and_memory() -> None:
    assert read_within_bounds(Path("/dev/zero")) == UsageError.exit_code
