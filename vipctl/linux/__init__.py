"""The kernel's interfaces: a file or a folder for each subsystem, and netlink, which most use.

How the kernel is asked and changed, and how its answers are read. What for is decided above:
nothing here knows the state on disk or the command line.
"""
