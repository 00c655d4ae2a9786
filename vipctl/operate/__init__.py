"""vipctl/operate"""
