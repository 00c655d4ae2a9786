"""A digest of words: others have another one."""

try:
    from _blake2 import blake2b  # all that hashlib has of it, without OpenSSL: as `random` does
except ImportError:
    from hashlib import blake2b

SIZE = 16  # bytes


def of(words: str) -> str:
    return blake2b(words.encode(), digest_size=SIZE).hexdigest()
