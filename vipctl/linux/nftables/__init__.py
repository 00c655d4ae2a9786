"""nftables: vipctl's own tables, from the text of their rules to one transaction over netlink."""
