"""Run one command and print what it took as JSON; a fresh process, so that peaks are its own.

python -I timed.py LIMIT OUTPUT COMMAND…    (in the namespace where the command is to be)
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    """Stop the command and all it started when it has had its time."""
    limit, output, *argv = sys.argv[1:]
    with Path(output).open("wb") as out:
        before = time.perf_counter()
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        status = _wait(child, float(limit))
        wall = time.perf_counter() - before
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss << 10}
    print(json.dumps({"status": status, **spent}))
    return 0


def _wait(child: "subprocess.Popen[bytes]", limit: float) -> int | None:
    """Return the exit status; none if the time was over. `Popen.wait` would look now and then."""
    handle = os.pidfd_open(child.pid)
    try:
        if select.select([handle], [], [], limit)[0]:
            return child.wait()
        return None
    finally:
        os.close(handle)
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


if __name__ == "__main__":
    sys.exit(main())
