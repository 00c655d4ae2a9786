"""IPVS's timeouts in a network namespace. Their names are vipctl's, and those of no sysctl.

Numbers are from include/uapi/linux/ip_vs.h.
"""

import os
from contextlib import AbstractContextManager

from vipctl import files
from vipctl.errors import Missing
from vipctl.linux import genetlink, netlink
from vipctl.linux.genetlink import Family
from vipctl.linux.netlink import NUMBER, attribute

MODULES = "/lib/modules"
LOAD = "modprobe ip_vs, or boot a kernel that has IPVS, as Debian's own do"
ABSENT = "this kernel has no IPVS, or its module is not loaded"
SET_CONFIG, GET_CONFIG = 12, 13  # IPVS_CMD_…
NAMES = {  # IPVS_CMD_ATTR_TIMEOUT_TCP, _TCP_FIN, _UDP
    "ipvs timeout tcp": 4,
    "ipvs timeout tcpfin": 5,
    "ipvs timeout udp": 6,
}


def read(name: str) -> str | None:
    """In seconds; None where there is no IPVS."""
    try:
        with connect() as family:
            failure, found = family.get(GET_CONFIG, b"")
    except Missing:
        return None
    if failure:
        raise netlink.refusal(name, failure, "see what is there: ipvsadm -L --timeout")
    return str(NUMBER.unpack(found[NAMES[name]])[0])


def write(name: str, value: str) -> None:
    """Sets one timeout, in seconds; the others stay. Raises KernelError or Missing."""
    with connect() as family:
        failure = family.do(SET_CONFIG, attribute(NAMES[name], NUMBER.pack(int(value))))
    if failure:
        raise netlink.refusal(f"{name} = {value}", failure, "run as root of the host")


def connect() -> AbstractContextManager[Family]:
    """IPVS's family. Raises Missing where there is none."""
    return genetlink.connect("IPVS", 1, Missing(ABSENT, hint=LOAD))


def absent() -> Missing:
    """The error that says why there is no IPVS, where that is so, as far as module files tell."""
    modules = f"{MODULES}/{os.uname().release}"
    if files.exists(modules):
        return Missing(ABSENT, hint=LOAD)
    return Missing(
        f"this kernel has no IPVS, and no module can be loaded: {modules} is not there",
        hint=f"boot a kernel that is installed (ls {MODULES}) and has IPVS, as Debian's own do",
    )
