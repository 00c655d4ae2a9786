"""What checking many real servers costs, beside keepalived and ldirectord: `make bench-checks`."""
