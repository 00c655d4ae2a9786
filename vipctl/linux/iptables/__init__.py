"""vipctl/linux/iptables"""
