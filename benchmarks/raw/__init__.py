"""The limit of each mechanism: messages that are packed beforehand, so that only the kernel works.

Nothing here is vipctl's.
"""
