"""Addresses of most tests, IPv4's first: VIPs and their ranges, others to tell them from, hosts."""

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
VIPS = ("203.0.113.77", "2001:db8:1::77")
OTHER_RANGES = ("198.51.100.0/24", "2001:db8:2::/64")
OTHERS = ("198.51.100.77", "2001:db8:2::77")
OWN = ("10.0.0.1", "fd00::1")  # the director's
ROUTER = {4: "192.0.2.200", 6: "2001:db8:f::200"}  # somewhere on the way to a client
