"""Short digests of text, to tell whether two texts are the same."""

try:
    from _blake2 import blake2b  # `hashlib` has the same, but loads OpenSSL
except ImportError:
    from hashlib import blake2b

SIZE = 16  # bytes


def of(words: str) -> str:
    return blake2b(words.encode(), digest_size=SIZE).hexdigest()
