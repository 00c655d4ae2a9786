"""Sets as the command ipset shows them, in this thread's network namespace."""

import re
import subprocess

MEMBER = re.compile(r"add \S+ (\S+)(?: skbmark (0x[0-9a-f]+))?$")


def members(name: str) -> dict[str, int]:
    """Return the mark of each prefix that a lookup finds."""
    saved = subprocess.run(["ipset", "save", name], check=True, capture_output=True, text=True)
    lines = [line for line in saved.stdout.splitlines()[1:] if not line.endswith(" nomatch")]
    found = [MEMBER.match(line) for line in lines]
    assert all(found), lines
    return {m[1]: int(m[2] or "0", 0) for m in found if m}
