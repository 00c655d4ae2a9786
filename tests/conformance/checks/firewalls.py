"""A firewall on the director that drops what it does not know."""

from tests.conformance.cell import IPVS
from tests.conformance.checks import Check
from tests.conformance.checks.traffic import tcp, udp
from tests.conformance.stages import firewall, recipe

CONNTRACK = tuple(firewall(value) for value in ("0", "1"))
TITLE = "{} passes a firewall with `ct state invalid drop` where {{}}"
TOGETHER = "net.ipv4.vs.conntrack is 0 or 1"
RECIPE = "{} passes the firewall of docs/firewall.md, which drops whatever it does not know"

CHECKS = {
    "firewall-tcp": Check(TITLE.format("TCP"), tcp, variants=CONNTRACK, together=TOGETHER),
    "firewall-udp": Check(TITLE.format("UDP"), udp, variants=CONNTRACK, together=TOGETHER),
    "recipe-tcp-nat": Check(
        f"by nat, {RECIPE.format('TCP')}", tcp, stage=recipe("1"), forwardings=("nat",)
    ),
    "recipe-udp-nat": Check(
        f"by nat, {RECIPE.format('UDP')}", udp, stage=recipe("1"), forwardings=("nat",)
    ),
    "recipe-tcp": Check(
        f"by dr and tun, {RECIPE.format('TCP')}", tcp, stage=recipe("0"), forwardings=IPVS[1:]
    ),
    "recipe-udp": Check(
        f"by dr and tun, {RECIPE.format('UDP')}", udp, stage=recipe("0"), forwardings=IPVS[1:]
    ),
}
