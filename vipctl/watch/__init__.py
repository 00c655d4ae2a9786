"""The daemon: hears that something changed, has it put back, and says so."""
