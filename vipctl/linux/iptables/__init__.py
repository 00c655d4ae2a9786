"""Legacy iptables and ipset, for the method `fwmark-iptables`."""
