"""Firewalls of others on the director, read as far as is needed to say what they drop.

Of nftables the base chains of one hook are read, and the rules of these and of chains that they
jump to; of legacy iptables its table `filter`. What a packet that nobody has sent meets there is
worked out: with a match that is not understood a rule may match, or not, and nothing is said of a
packet that some rule may accept. Where there is more than `MOST` of anything, nothing is said
either, so that the size of a firewall costs nothing.
"""

from vipctl.linux.filters import legacy, nft
from vipctl.linux.filters.walk import Base


def bases() -> list[Base]:
    """Where others can drop packets. Raises KernelError."""
    return [*nft.bases(), *legacy.bases()]
