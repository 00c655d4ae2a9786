"""What one more range costs beside somebody else's nftables, against what it costs alone."""
