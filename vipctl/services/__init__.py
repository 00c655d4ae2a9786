"""vipctl/services"""
