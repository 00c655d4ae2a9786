"""vipctl/linux/nftables"""
