"""vipctl/addresses"""
