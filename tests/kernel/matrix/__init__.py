"""`make kernels`: the module, built for and tested under every kernel that Debian has."""
