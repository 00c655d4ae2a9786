"""What follows from answers to health checks: who is up, and which weight each gets. Pure.

Whether the director is fit to be chosen follows from them too. Nobody is asked here, and nothing is
read, written or timed: the time is always given.
"""
