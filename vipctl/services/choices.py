"""What options choose from. Imports nothing of vipctl's: the help text needs no more."""

from enum import StrEnum

AUTO = "auto"  # asks for the best method that the director supports; never stored
PROXY = "tproxy"  # the method that balances in userspace
ROUTE = "route"  # the method for which the kernel may answer ARP


class Forward(StrEnum):
    """Forwarding method of a virtual service."""

    NAT = "nat"
    DR = "dr"
    TUN = "tun"


class Leftover(StrEnum):
    """What a client gets for a packet that IPVS did not take."""

    REJECT = "reject"
    DROP = "drop"
