"""The kernel: a file or a folder for each of its subsystems, and netlink, by which they speak.

What is asked of the kernel, and how its answers are read. Why it is asked is decided above: nothing
here knows the state on disk or the command line.
"""
