"""Virtual services as ipvsadm and keepalived write them, as services of ours.

Pure: it gets texts, and neither reads the disk nor asks the kernel. Whatever cannot be said of a
service of ours is a `Note`.
"""
