"""Sets of addresses: how people write them, how they are kept packed, and their arithmetic.

Pure: nothing here reads a file or a kernel, or knows what a service is. A set of a million is a
string of bytes; what an operation on it costs is decided here.
"""
