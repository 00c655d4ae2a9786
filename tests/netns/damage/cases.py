"""The methods that can be damaged on this kernel."""

from tests.netns.damage import fwmark, fwmark_iptables, route, tproxy

CASES = {
    "fwmark": fwmark.CASE,
    "fwmark-iptables": fwmark_iptables.CASE,
    "route": route.CASE,
    "tproxy": tproxy.CASE,
}
