"""The moments of a command at which it changes the kernel or the database, found with strace."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.harness.command import Vipctl
from tests.netns.zygote import StrikeAt, Zygote, recording

# Whether a file was synchronised makes no difference to a kernel that lives on.
CALLS = ("sendto", "sendmsg", "pwrite64", "ftruncate", "unlink")
TOLD = "sa_family=AF_UNIX"  # the daemon, the journal: nothing of a command depends on them
# Nor on what a kernel was only asked; strace knows some messages by number only, GETs of
# rtnetlink among them (include/uapi/linux/rtnetlink.h), nftables' that are not in a batch, and
# CTRL_CMD_GETFAMILY, 3, of generic netlink's controller.
QUESTION = re.compile(
    r"sendto\([^{]*{nlmsg_len=\d+, nlmsg_type="
    r'(\S*GET|0x\w{3,}|0x\w*[26ae]\b|0x10 /\*[^"]*"\\x03)'
)


def moments(
    vipctl: Vipctl, trace: Path, *words: str, calls: Sequence[str] = CALLS
) -> list[StrikeAt]:
    """Run a command, which must succeed; return every call of it that changes something."""
    with Zygote(recording(calls, trace)) as watched:
        done = watched.run(vipctl, *words)
    assert done.code == 0, done
    made = dict.fromkeys(calls, 0)
    found = []
    lines = trace.read_text().splitlines()
    process = lines[0].split()[
        0
    ]  # another thread of it, which compiles rules, changes nothing here
    for line in lines:
        call = line.split()[1].partition("(")[0]
        if call in made and line.split()[0] == process:
            made[call] += 1
            if TOLD not in line and not QUESTION.search(line):
                found.append((call, made[call]))
    return found
