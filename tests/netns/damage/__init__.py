"""What others do to what a method has in the kernel, one file for each method: a shell's words.

DAMAGE is seen by every command, UNSEEN only by a comparison of every prefix.
"""
