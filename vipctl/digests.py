"""Short digests of text or bytes, to tell whether two are the same."""

try:
    from _blake2 import blake2b  # `hashlib` has the same, but loads OpenSSL
except ImportError:
    from hashlib import blake2b

SIZE = 16  # bytes


def of(words: str | bytes) -> str:
    data = words.encode() if isinstance(words, str) else words
    return blake2b(data, digest_size=SIZE).hexdigest()
