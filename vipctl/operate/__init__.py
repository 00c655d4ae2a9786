"""The use cases of the command line: changing a director, and reporting on it.

Refusals, warnings and reports belong here. Parsing and printing do not: those are in `cli`.
"""
