"""One range more, by this tree and by another commit, in turn."""
