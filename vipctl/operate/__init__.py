"""What a director's operator does: a use case of changing or of looking, and what he is told.

Refusals, advice and reports belong here. Words of the command line do not: those are in `cli`.
"""
