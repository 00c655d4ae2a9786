"""vipctl/linux/routing"""
