"""Modules that services need, libraries, and certificates."""

from datetime import UTC, datetime, timedelta

import trustme

from tests.netns.complaints.base import Complaint, enabled

NEWER = "99.1.0-1-amd64"
DEP, LOADED = f"/usr/lib/modules/{NEWER}/modules.dep", "/etc/modules-load.d/vip_shim.conf"
BUILT = {DEP: "updates/dkms/vip_shim.ko.xz:\n"}
OLDER = {"/usr/lib/modules/1.2.3-amd64/modules.dep": "kernel/net/other.ko:\n"}
# The module itself is not in this kernel, which is `lacking`.
AUTHORITY, NOW = trustme.CA(), datetime.now(UTC)
CERTIFICATE = "/etc/vipctl/sync/cert.pem"
RELAYING = enabled("vipctl-sync.service")


def certificate(since: int, until: int) -> str:
    """One that is good from so many days from now on, and until then."""
    first, last = (NOW + timedelta(days=days) for days in (since, until))
    made = AUTHORITY.issue_cert("10.0.0.1", not_before=first, not_after=last)
    return "Subject: a director\n" + made.cert_chain_pems[0].bytes().decode()


def _relaying(name: str, causes: list[str], since: int, until: int) -> Complaint:
    return Complaint(
        name, causes, {CERTIFICATE: certificate(since, until), **RELAYING}, services=()
    )


MODULES = [
    Complaint(
        "shim-not-at-boot", ["lacking", "shim-not-at-boot"], BUILT, reals=True, method="shim"
    ),
    Complaint(
        "shim-not-built", ["lacking", "shim-not-built"],
        {DEP: "kernel/net/other.ko:\n", LOADED: "vip_shim\n"}, reals=True, method="shim",
    ),
    Complaint(
        "only-lacking", ["lacking"], {LOADED: "# mine\nvip_shim\n", **BUILT, **OLDER},
        reals=True, method="shim",
    ),
    Complaint(
        "bridge-netfilter", ["lacking", "bridge-netfilter"], {LOADED: "vip_shim\n", **BUILT},
        make=(
            "ip link add br7 type bridge; "
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=1",
        ),
        reals=True, method="shim",
    ),
    Complaint(
        "only-lacking-beside-a-bridge", ["lacking"], {LOADED: "vip_shim\n", **BUILT},
        make=(
            "ip link add br7 type bridge; "
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0",
        ),
        reals=True, method="shim",
    ),
    Complaint(
        "healthy-bridge", [],
        make=("ip link add br7 type bridge; sysctl -w net.bridge.bridge-nf-call-iptables=1",),
    ),
    Complaint("ftp-module", ["ftp-module"], reals=True, more=("set-service web --port tcp/21",)),
    Complaint("healthy-web", [], reals=True, more=("set-service web --port tcp/80",)),
    _relaying("certificate-expired", ["certificate-expired"], -30, -1),
    _relaying("certificate-expires", ["certificate-expires"], -30, 3),
    _relaying("certificate-not-yet", ["certificate-not-yet"], 2, 30),
    _relaying("healthy-certificate", [], -30, 30),
    _relaying("healthy-certificate-of-the-far-future", [], -30, 365 * 40),
    Complaint("healthy-no-relay", [], {CERTIFICATE: certificate(-30, -1)}, services=()),
    Complaint("healthy-no-certificate", [], {CERTIFICATE: "x", **RELAYING}, services=()),
]  # fmt: skip
