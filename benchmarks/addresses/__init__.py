"""What many addresses of the director cost with the shim: `make bench-addresses`."""
