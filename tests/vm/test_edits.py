"""An edit changes in IPVS what it names, and nothing else: random ones, by the whole dump."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from vipctl.linux.genetlink import Family, parsed
from vipctl.linux.ipvs import messages
from vipctl.linux.ipvs.messages import (
    COMMANDS,
    DEST_FWD,
    DEST_LOWER,
    DEST_UPPER,
    DEST_WEIGHT,
    SERVICE,
    SVC_AF,
    SVC_FLAGS,
    SVC_FWMARK,
    SVC_NETMASK,
    SVC_SCHED,
    SVC_TIMEOUT,
    Key,
)

EDITS = 30
SERVICES: dict[str, Any] = {
    "web": {
        **{"fwmark": 17, "forward": "dr", "persistence": 300, "set_sysctls": True},
        "reals": ["10.0.1.11,weight=2,upper=900,lower=30", "10.0.1.12,forward=tun", "fd00:1::11"],
        "ranges": ["203.0.113.0/24"],
    },
    "shop": {
        **{"fwmark": 18, "scheduler": "mh,port,fallback", "ranges": ["198.51.100.0/24"]},
        "reals": ["10.0.1.11:8080,weight=3", "10.0.1.12", "[fd00:1::11]:80,upper=7", "fd00:1::12"],
    },
    "dns": {
        **{"fwmark": 19, "scheduler": "rr,ops", "forward": "tun", "ranges": ["192.0.2.0/24"]},
        "reals": ["10.0.1.11,weight=9", "10.0.1.12"],
    },
}
OF_SERVERS = {
    **{"weight=1": {DEST_WEIGHT}, "weight=65535": {DEST_WEIGHT}, "upper=100": {DEST_UPPER}},
    **{"upper=200,lower=5": {DEST_UPPER, DEST_LOWER}, "forward=dr": {DEST_FWD}},
}
SCHEDULING, PERSISTENCE = {SVC_SCHED, SVC_FLAGS}, {SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK}
OF_SERVICES: dict[str, set[int]] = {
    **dict.fromkeys(["--scheduler=wrr", "--scheduler=sh,fallback", "--scheduler=lc"], SCHEDULING),
    **dict.fromkeys(["--persistence=0", "--persistence=60,mask=24,mask6=64"], PERSISTENCE),
    **{"--leftover=drop": set(), "--leftover=reject": set(), "--ping": set()},
}
COUNTED = {7, 8, 9, 10, 12}  # of a real server: its connections, and statistics
STATISTICS = {10, 12}  # of a service
Attribute = tuple[int, str, int]  # of a fwmark's services, or of one of their real servers
Edit = tuple[list[str], set[Attribute]]


def dump(host: Namespace) -> dict[tuple[int, Attribute], bytes]:
    """Return every attribute of everything in IPVS, whether or not vipctl knows it."""
    with host, messages.connect() as family:
        return dict(_attributes(family))


def _attributes(family: Family) -> Iterator[tuple[tuple[int, Attribute], bytes]]:
    for found in family.dump(COMMANDS["get service"], b""):
        service = parsed(found[SERVICE])
        mark = int.from_bytes(service[SVC_FWMARK], "little")
        version = 4 if service[SVC_AF][0] == 2 else 6
        for number in service.keys() - STATISTICS:
            yield (version, (mark, "", number)), service[number]
        for dest in messages.dests(family, Key(mark, version)):
            for number in dest.keys() - COUNTED:
                name = messages.real(dest).endpoint
                yield (version, (mark, name, number)), dest[number]


def edit(random: Random, state: dict[str, Any], document: Path) -> Edit:
    """Choose one, and what of IPVS it may change."""
    name, form = random.choice(sorted(state["services"].items()))
    endpoint, mark = random.choice(form["reals"]).split(",")[0], form["fwmark"]
    kind = random.choice(["set-real", "drain-real", "undrain-real", "service", "apply", "range"])
    if kind == "set-real":
        word = random.choice(sorted(OF_SERVERS.keys() - ({"forward=dr"} if name != "web" else ())))
        return [kind, name, f"{endpoint},{word}"], {(mark, endpoint, n) for n in OF_SERVERS[word]}
    if kind == "service":
        word = random.choice(sorted(OF_SERVICES))
        return ["set-service", name, word], {(mark, "", n) for n in OF_SERVICES[word]}
    if kind == "range":
        words = [
            random.choice(["add-range", "remove-range"]),
            *SERVICES[name]["ranges"],
            "--service",
            name,
        ]
        return words, set()
    if kind == "apply":
        words = [w for w in form["reals"] if w.split(",")[0] != endpoint]
        form["reals"] = [*words, f"{endpoint},weight=5"]
        document.write_text(json.dumps({"services": state["services"]}))
        changed = {DEST_WEIGHT, DEST_UPPER, DEST_LOWER, DEST_FWD}
        return ["apply", str(document)], {(mark, endpoint, n) for n in changed}
    return [kind, name, endpoint], {(mark, endpoint, DEST_WEIGHT)}


def test_random_edits(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    random, document = Random(16), tmp_path / "document"
    document.write_text(json.dumps({"services": SERVICES}))
    vipctl("apply", str(document))
    before, changing = dump(net.director), 0
    for _ in range(EDITS):
        words, named = edit(random, vipctl("export"), document)
        done = vipctl.text("--json", *words)
        after = dump(net.director)
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        assert {attribute for _, attribute in changed} <= named, words
        assert not changed or done.code == 0, (words, done)
        changing += bool(changed)
        before = after
    assert changing >= EDITS // 4
    assert vipctl("status")["kernel"] == "as stored"
