"""Random situations, in which `explain` must say what a client meets: make explain-fuzz."""
