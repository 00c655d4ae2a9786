"""What asking costs the director, by kind of check."""
