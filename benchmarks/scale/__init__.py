"""From a thousand VIPs to a million, vipctl and its peers: `make bench`, docs/benchmarks.md."""
