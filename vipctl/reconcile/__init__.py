"""The kernel becomes what is stored, or what a change wants, and goes back where that fails.

Steps and their order; what the director cannot have is named here. What an operator asks for, and
what he is told, is in `operate`.
"""
