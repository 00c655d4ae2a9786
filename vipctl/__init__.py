"""vipctl: makes an LVS director accept and balance VIPs that it does not own."""

__version__ = "0.1.0"
