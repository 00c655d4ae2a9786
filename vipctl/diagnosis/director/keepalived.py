"""keepalived's own configuration, where it has a say in IPVS."""

import glob
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well

if TYPE_CHECKING:  # imported where keepalived is there
    from vipctl.importing.found import Place

NAME, UNIT, FILE = "keepalived", "keepalived.service", "/etc/keepalived/keepalived.conf"


def check(site: Site) -> Iterator[Step]:
    acts, ours = site.machine.acts(NAME, UNIT), [s for s in site.services if s.balanced]
    text = machine.read(FILE) if acts and ours else ""
    if not text:
        return
    found = [*_flushes(text, site), *_same(text, site)]
    yield from found
    if not found:
        yield well(
            NAME, f"{NAME} {acts}, and leaves IPVS services of vipctl's alone", f"cat {FILE}"
        )


def _flushes(text: str, site: Site) -> Iterator[Step]:
    """All of IPVS, that is; `lvs_flush_on_stop VS` is of its own alone."""
    from vipctl.importing.blocks import Reader

    for block in Reader(_include).read(FILE, text):
        for one in block.body if block.words[0] == "global_defs" else ():
            all_of_it = one.words in (["lvs_flush"], ["lvs_flush_on_stop"])
            if all_of_it and not site.machine.watches:
                says = f"{NAME} takes vipctl's services out of IPVS ({one.place}: {one.words[0]})"
                fix = f"take {one.words[0]} out of {one.place.file}"
                yield ill(
                    NAME, "keepalived-flush", says, fix, f"grep -n lvs_flush {one.place.file}"
                )


def _same(text: str, site: Site) -> Iterator[Step]:
    from vipctl.importing import keepalived
    from vipctl.importing.found import Mark

    marks = {s.fwmark: s.name for s in site.services if s.balanced}
    for virtual in keepalived.read(FILE, text, _include).virtuals:
        target = virtual.target
        if isinstance(target, Mark) and (name := marks.pop(target.mark, None)):
            says = (
                f"{virtual.place}: {NAME} balances fwmark {target.mark}, as service {name!r} does"
            )
            fix = f"take virtual_server fwmark {target.mark} out of {virtual.place.file}"
            yield ill(NAME, "keepalived-same-mark", says, fix, f"vipctl list-services; cat {FILE}")


def _include(place: "Place", pattern: str) -> Iterator[tuple[str, str]]:
    """Files are named from the directory of the one that includes them."""
    base = glob.escape(os.path.dirname(place.file))
    for found in sorted(glob.glob(os.path.join(base, pattern))):
        yield found, machine.read(found)
