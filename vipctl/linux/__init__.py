"""vipctl/linux"""
