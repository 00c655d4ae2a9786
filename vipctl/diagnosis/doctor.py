"""Looks at the whole director: all that keeps VIPs from answering whichever is asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from vipctl.diagnosis.director import (
    boot,
    certificates,
    installed,
    keepalived,
    kernel,
    libraries,
    links,
    machine,
    modules,
    others,
    way,
)
from vipctl.diagnosis.director import site as sites
from vipctl.diagnosis.director.machine import Machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import State, Step, unknown
from vipctl.errors import Missing, VipctlError
from vipctl.files import Where
from vipctl.operate.changing import booted_since, refuse_foreign_state
from vipctl.operate.outcome import Report
from vipctl.state.store import Store

Of = TypeVar("Of", Site, Machine)
Checks = Mapping[str, Callable[[Of], Iterator[Step]]]  # by the name of what could not be looked at
OF_VIPS: Checks[Site] = {
    "boot": installed.boot,
    "units": installed.units,
    "watch": installed.watch,
    "ipvs": kernel.ipvs,
    "IPVS services of others": kernel.of_others,
    "state": kernel.stored,
    "systemd-networkd": others.networkd,
    "nftables": others.nftables,
    "NetworkManager": others.network_manager,
    "ipvsadm": others.ipvsadm,
    "legacy iptables": others.legacy,
    "wg-quick": others.wireguard,
    "keepalived": keepalived.check,
    "sysctls": kernel.sysctls,
    "sysctls at boot": boot.sysctls,
    "ip_vs at boot": boot.module,
    "rules": way.ahead,
    "marks": way.marks,
    "firewall": way.firewall,
    "addresses": way.addresses,
    "real servers": way.real_servers,
    "conntrack": kernel.conntrack,
    "default route": kernel.advertised,
    "links": links.neighbours,
    "sizes": links.sizes,
    "gateways": links.gateways,
    "sync": links.sync,
    "vip_shim": modules.shim,
    "bridges": modules.bridges,
    "ftp": modules.ftp,
    "libraries": libraries.check,
}
OF_MACHINE: Checks[Machine] = {"certificate": certificates.sync}


def examine(state_dir: Where) -> Report:
    """What ails the director. Raises Refused for a state of another network namespace."""
    found = machine.look()
    steps, pending = list(_unseen(found)), False
    try:
        with Store.read(state_dir) as store:
            if not booted_since(store):
                refuse_foreign_state(store, adopt=False)
            pending = store.intent() is not None
            steps += _steps(OF_VIPS, sites.of(state_dir, store, found))
    except Missing as e:
        says = f"{e.message}: what depends on the services is not looked at"
        steps.append(unknown("state", says, f"ls -ld {state_dir}"))
    steps += _steps(OF_MACHINE, found)
    causes = dict.fromkeys(step.cause for step in steps if step.state is State.CAUSE)
    return {
        "checks": [step._asdict() for step in steps],
        "causes": list(causes),
        "pending": pending,
    }


def _unseen(found: Machine) -> Iterator[Step]:
    if found.own is None or not found.whole:
        says = "not all programs that run here may be looked at, nor is known what starts at boot"
        yield unknown("machine", says, "run it as root")
    elif not found.own:
        says = "this is not the machine's own network namespace: what its units do is not looked at"
        yield unknown("machine", says, "readlink /proc/1/ns/net /proc/self/ns/net")


def _steps(checks: Checks[Of], of: Of) -> Iterator[Step]:
    """A check of which nothing can be found out is a step that says so."""
    for name, check in checks.items():
        try:
            yield from list(check(of))
        except VipctlError as e:
            yield unknown(name, f"could not be found out: {e.in_a_line}")
        except OSError as e:
            yield unknown(name, f"could not be found out: {e.strerror}: {e.filename}")
