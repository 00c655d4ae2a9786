"""What may ail a director, by the ids that `doctor --json` has: they stay as they are. Pure.

What `explain` finds too has the same id, and is described there.
"""

from collections.abc import Mapping

from vipctl.diagnosis.causes import CAUSES, HINTS, Cause

FINDINGS: Mapping[str, Cause] = {
    "restore-not-at-boot": Cause(
        "No unit restores VIPs at boot: they will be gone then.",
        "The units that systemd starts at boot; one of any name that calls `vipctl restore` is "
        "enough.",
        "`systemctl enable vipctl-restore.service` (examples/systemd)",
    ),
    "networkd-foreign": Cause(
        "systemd-networkd takes rules and routes that are not its own for leftovers, and removes "
        "them.",
        "It runs in this network namespace, or starts at boot, and "
        "`ManageForeignRoutingPolicyRules` or `ManageForeignRoutes` is not `no`, by its files and "
        "their drop-ins. Not with `shim` alone, which has neither.",
        "examples/systemd/networkd.conf.d-vipctl.conf",
    ),
    "nftables-flush": Cause(
        "The service of nftables flushes the whole ruleset when it starts again, and nothing "
        "puts VIPs back then.",
        "`/etc/nftables.conf`; the service starts at boot, and neither does "
        "vipctl-restore.service follow it, nor `vipctl watch` run.",
        "`systemctl enable vipctl-restore.service`",
    ),
    "sysctl": HINTS["sysctl"],
    "rule-before-ours": CAUSES["rule-before-ours"],
    "firewall-input": CAUSES["firewall-input"],
    "firewall-output": CAUSES["firewall-output"],
    "firewall-forward": CAUSES["firewall-forward"],
}
