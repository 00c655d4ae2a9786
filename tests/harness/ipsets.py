"""Sets as the command ipset shows them, in this thread's network namespace."""

import re
import subprocess

MEMBER = re.compile(r"add \S+ (\S+)(?: skbmark (0x[0-9a-f]+))?$")


def members(name: str) -> dict[str, int]:
    """Return the mark of each prefix."""
    saved = subprocess.run(["ipset", "save", name], check=True, capture_output=True, text=True)
    found = map(MEMBER.match, saved.stdout.splitlines()[1:])
    return {m[1]: int(m[2] or "0", 0) for m in found if m}
