"""Asks a real server thousands of times, by every kind of check.

`python -m benchmarks.probing` prints the CPU time of the asking process (and, for exec, of the
programs), per check, and its memory afterwards.
"""

import asyncio
import resource
import subprocess
import sys
import tempfile
from ipaddress import ip_address
from pathlib import Path

import trustme

from tests.harness.lab import Lab, lab
from vipctl.probing import probe, web
from vipctl.services.checks import Target, parse_check

AT_ONCE = 50
CASES = [  # kind, port, how often
    ("tcp", 80, 5000),
    ("http:/", 80, 5000),
    ("http:/,body=hello", 80, 3000),
    ("https:/,host=www.example.org", 443, 1000),
    ("udp,send=00,expect=00", 9, 5000),
    ("dns:example.org,A", 53, 3000),
    ("exec:/bin/true", 0, 300),
]
ROUNDS = 3


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, lab(reals=1) as built:
        authority, certificate = trustme.CA(), Path(directory, "server.pem")
        made = authority.issue_cert("www.example.org")
        made.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        web._context(verified=True).load_verify_locations(
            cadata=authority.cert_pem.bytes().decode()
        )
        argv = [sys.executable, "-m", "benchmarks.probing.server", str(certificate)]
        server = subprocess.Popen(
            ["ip", "netns", "exec", built.reals[0].name, *argv], stdout=subprocess.PIPE
        )
        try:
            server.stdout.readline()  # type: ignore[union-attr]
            with built.director:
                _measure(built)
        finally:
            server.kill()
            server.wait()
    return 0


def _measure(built: Lab) -> None:
    for text, port, number in CASES:
        target = Target(ip_address(built.real4(0)), port)
        costs = []
        for _ in range(ROUNDS):
            before = _cpu()
            asyncio.run(_ask(text, target, number))
            costs.append((_cpu() - before) / number * 1e6)
        print(f"{text}: {min(costs):.0f} to {max(costs):.0f} µs")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


async def _ask(text: str, target: Target, number: int) -> None:
    check, room = parse_check(f"{text},every=60,timeout=60"), asyncio.Semaphore(AT_ONCE)

    async def ask() -> None:
        async with room:
            answer = await probe(target, check)
            assert answer.passed, answer

    await asyncio.gather(*(ask() for _ in range(number)))


def _cpu() -> float:
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    used = [resource.getrusage(who) for who in whose]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
