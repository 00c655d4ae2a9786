"""nftables: tables of ours, from the words of their rules to one transaction over netlink.

Of anybody else's there is one question, in `firewall`.
"""
