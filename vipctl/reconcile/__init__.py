"""Brings the kernel to the stored state, or through a change and back if the change fails.

Here are the steps, their order, and what the director cannot have. What operators ask for, and what
they are told, is in `operate`.
"""
