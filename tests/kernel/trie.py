"""The module's prefix trie, compiled for user space with sanitizers, and inputs for it."""

import re
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
KERNEL = REPOSITORY / "kernel"
CORPUS = HERE / "trie_corpus.txt"  # an input in hex a line; `python -m tests.kernel.fuzz` writes it
SOURCES = ("table.c", "walk.c")  # of the module: the trie
ENTRY = HERE / "trie_fuzz.c"
MAIN = HERE / "trie_main.c"
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-sign-compare")
FLAGS = ("-g", "-O1", "-fno-sanitize-recover=all", *STRICT)
INDEX_BITS = re.compile(r"^(#define VIP_INDEX_BITS\s+)16$", re.MULTILINE)


def build(program: Path, kernel: Path = KERNEL) -> None:
    """Compile with gcc; the program reads inputs like CORPUS, or makes its own."""
    _compile("gcc", "address,undefined", program, kernel, MAIN)


def build_fuzzer(program: Path, kernel: Path) -> None:
    """Compile with clang, as libFuzzer's, a copy of the module with a small index.

    To go through 65,536 places for a handful of prefixes would be nearly all that it does.
    """
    shutil.rmtree(kernel, ignore_errors=True)
    shutil.copytree(KERNEL, kernel, ignore=shutil.ignore_patterns("*.o", "*.ko", "*.mod*", ".*"))
    node = kernel / "node.h"
    text, places = INDEX_BITS.subn(r"\g<1>6", node.read_text())
    if places != 1:
        raise LookupError(f"{node} does not define the size of the index as expected")
    node.write_text(text)
    _compile("clang", "fuzzer,address,undefined", program, kernel)


def _compile(compiler: str, sanitizers: str, program: Path, kernel: Path, *more: Path) -> None:
    includes = (f"-I{HERE / 'userspace'}", f"-I{kernel}")
    files = map(str, (ENTRY, *more, *(kernel / name for name in SOURCES)))
    argv = [compiler, *FLAGS, f"-fsanitize={sanitizers}", *includes, *files, "-o", str(program)]
    subprocess.run(argv, check=True)


def unpack(corpus: Path) -> None:
    """Write the inputs of CORPUS to files, as libFuzzer has them."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(CORPUS.read_text().split()):
        (corpus / f"kept-{number}").write_bytes(bytes.fromhex(line))


def pack(corpus: Path) -> int:
    """Make CORPUS of such files; return how many they are."""
    inputs = sorted((path.read_bytes() for path in corpus.iterdir()), key=lambda data: data.hex())
    CORPUS.write_text("".join(f"{data.hex()}\n" for data in inputs))
    return len(inputs)
