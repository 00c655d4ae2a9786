"""vipctl/state"""
