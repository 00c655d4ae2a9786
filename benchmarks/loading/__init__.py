"""What it takes to load a million prefixes: `make bench-load`."""
