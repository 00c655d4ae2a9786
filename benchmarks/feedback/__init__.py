"""Schedulers with and without feedback, where real servers are unlike each other."""
