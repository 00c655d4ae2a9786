"""Whether sysctls that services need are so after the next boot: sysctl.d(5), modules-load.d(5)."""

from collections.abc import Iterator

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.linux import sysctl

SYSCTLS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
EVIDENCE = "systemd-analyze cat-config sysctl.d"
OF_IPVS = "net.ipv4.vs."
ON = ("net.ipv4.vs.pmtu_disc",)  # by default; the others that services need are off
MODULES = "cp examples/modules-load.d/vipctl.conf /etc/modules-load.d/"
Said = dict[str, tuple[str, str]]  # by name: a value, and the file that has the last word


def sysctls(site: Site) -> Iterator[Step]:
    """Those of services that vipctl does not set itself."""
    wanted = sysctl.needed(s for s in site.services if not s.set_sysctls)
    needed = {key: value for key, value in wanted.items() if sysctl.read(key) is not None}
    if not (needed and site.machine.own and site.machine.systemd):
        return
    name, said, unsaid = "sysctls at boot", _said(), list[str]()
    for key, value in needed.items():
        there, file = said.get(key, (str(int(key in ON)), ""))
        if there != value and file:
            says = f"{file} sets {key} to {there}, and services need {value}"
            yield ill(name, "sysctl-at-boot", says, f"have it say {key} = {value}", EVIDENCE)
        elif there != value:
            unsaid.append(f"{key} = {value}")
    if unsaid:
        says = f"whether {', '.join(unsaid)} after a boot is not known: no file of sysctl.d says so"
        yield unknown(name, says, EVIDENCE)
    elif not any(said.get(key, (value, ""))[0] != value for key, value in needed.items()):
        yield well(name, "sysctl.d has what services need", EVIDENCE)


def module(site: Site) -> Iterator[Step]:
    """Sysctls of IPVS are there once its module is, which is loaded when it is first used."""
    of_ipvs = {key: file for key, (_, file) in _said().items() if key.startswith(OF_IPVS)}
    if not (of_ipvs and site.balanced and site.machine.own and site.machine.systemd):
        return
    evidence = "cat /etc/modules-load.d/*.conf"
    if machine.loads("ip_vs"):
        yield well("ip_vs at boot", "ip_vs is loaded before sysctls are set", evidence)
        return
    key, file = next(iter(of_ipvs.items()))
    says = f"{file} sets {key}, in vain: ip_vs is not loaded so early at boot"
    yield ill("ip_vs at boot", "ip-vs-not-at-boot", says, MODULES, evidence)


def _said() -> Said:
    found: Said = {}
    for path in machine.drop_ins(list(SYSCTLS)):
        for line in map(str.strip, machine.read(path).splitlines()):
            key, equals, value = line.removeprefix("-").partition("=")
            if equals and not line.startswith(("#", ";")):
                found[_dotted(key.strip())] = value.strip(), path
    return found


def _dotted(key: str) -> str:
    """Where a slash comes first, it separates, as in paths; the other one is part of a name."""
    first = next((c for c in key if c in "./"), ".")
    return key.translate(sysctl.SWAPPED) if first == "/" else key
