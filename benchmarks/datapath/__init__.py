"""Instructions per packet on a director: `make bench-datapath`, docs/datapath.md."""
