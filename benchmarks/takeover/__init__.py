"""What a power cut costs clients, beside keepalived alone: `make bench-takeover`."""
