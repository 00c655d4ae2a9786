"""Why a VIP does not answer: the way of a client's packet and of its answer, step by step.

`explain` goes the way; there is a file for each leg of it. Each step says how it stands, with a
command that shows the same. Nothing is changed, and no cause is guessed.
"""
