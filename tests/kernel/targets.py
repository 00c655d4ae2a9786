"""Parts of the module, compiled for user space with sanitizers, and inputs for them."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
KERNEL = REPOSITORY / "kernel"
MAIN = HERE / "fuzz_main.c"
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-Wno-unused-parameter")
FLAGS = ("-g", "-O1", "-fno-sanitize-recover=all", *STRICT)
# To go through 65,536 places for a handful of prefixes would be nearly all that a fuzzer does, and
# it would never come to a limit.
SMALLER = {
    "node.h": {"VIP_INDEX_BITS": 6},
    "uapi/vip_shim.h": {
        "VIP_SHIM_MAX_SERVICES": 4,
        "VIP_SHIM_MAX_PREFIXES": 12,
        "VIP_SHIM_MAX_PLANES": 3,
    },
}


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed: NAME_fuzz.c, and sources of the module."""

    name: str
    sources: tuple[str, ...]

    @property
    def entry(self) -> Path:
        """Return what takes an input, and judges what comes of it."""
        return HERE / f"{self.name}_fuzz.c"

    @property
    def corpus(self) -> Path:
        """Return the file of inputs, in hex a line; `python -m tests.kernel.fuzz` writes it."""
        return HERE / f"{self.name}_corpus.txt"


TRIE = Target("trie", ("table.c", "walk.c"))
COMMANDS = Target(
    "commands",
    (*TRIE.sources, "state.c", "service.c", "net.c", "netlink.c", "bulk.c", "dump.c"),
)
TARGETS = {target.name: target for target in (TRIE, COMMANDS)}


def build(target: Target, program: Path, kernel: Path = KERNEL) -> None:
    """Compile with gcc; the program reads inputs like those of the corpus, or makes its own."""
    _compile(target, "gcc", "address,undefined", program, kernel, MAIN)


def build_fuzzer(target: Target, program: Path, kernel: Path) -> None:
    """Compile with clang, as libFuzzer's, a copy of the module with small limits."""
    shutil.rmtree(kernel, ignore_errors=True)
    copy_smaller(kernel)
    _compile(target, "clang", "fuzzer,address,undefined", program, kernel)


def copy_smaller(kernel: Path) -> None:
    """Make a copy of the module with small limits."""
    shutil.copytree(KERNEL, kernel, ignore=shutil.ignore_patterns("*.o", "*.ko", "*.mod*", ".*"))
    for file, numbers in SMALLER.items():
        text = (kernel / file).read_text()
        for name, number in numbers.items():
            text, places = re.subn(rf"(#define {name}\s+)(\d+|\(.*?\))", rf"\g<1>{number}", text)
            if places != 1:
                raise LookupError(f"{file} does not define {name} as expected")
        (kernel / file).write_text(text)


def _compile(
    target: Target, compiler: str, sanitizers: str, program: Path, kernel: Path, *more: Path
) -> None:
    includes = (f"-I{HERE / 'userspace'}", f"-I{kernel}")
    files = map(str, (target.entry, *more, *(kernel / name for name in target.sources)))
    argv = [compiler, *FLAGS, f"-fsanitize={sanitizers}", *includes, *files, "-o", str(program)]
    subprocess.run(argv, check=True)


def unpack(target: Target, corpus: Path) -> None:
    """Write the inputs that are kept to files, as libFuzzer has them."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(target.corpus.read_text().split()):
        (corpus / f"kept-{number}").write_bytes(bytes.fromhex(line))


def pack(target: Target, corpus: Path) -> int:
    """Make the inputs that are kept of such files; return how many they are."""
    inputs = sorted((path.read_bytes() for path in corpus.iterdir()), key=lambda data: data.hex())
    target.corpus.write_text("".join(f"{data.hex()}\n" for data in inputs))
    return len(inputs)
