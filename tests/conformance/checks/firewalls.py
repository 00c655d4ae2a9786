"""A firewall on the director that drops what belongs to no known connection."""

from tests.conformance.checks import Check
from tests.conformance.checks.traffic import tcp, udp
from tests.conformance.stages import firewall

CONNTRACK = tuple(firewall(value) for value in ("0", "1"))
TITLE = "{} passes a firewall with `ct state invalid drop` where {{}}"
TOGETHER = "net.ipv4.vs.conntrack is 0 or 1"

CHECKS = {
    "firewall-tcp": Check(TITLE.format("TCP"), tcp, variants=CONNTRACK, together=TOGETHER),
    "firewall-udp": Check(TITLE.format("UDP"), udp, variants=CONNTRACK, together=TOGETHER),
}
