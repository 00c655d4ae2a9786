"""Legacy iptables and ipset, for the one method that is made with them."""
