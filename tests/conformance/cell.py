"""A cell of the matrix: what is measured, of which method, and how a service has to be set up."""

from dataclasses import dataclass, field

VERSIONS = (4, 6)
IPVS = ("nat", "dr", "tun")  # forwarding methods
PROXY = "proxy"  # what stands in the place of one where a local listener answers
FORWARDINGS = (*IPVS, PROXY)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One measurement; `serial` is its place in the matrix and gives it VIPs of its own."""

    method: str
    version: int
    forwarding: str
    check: str
    variant: str = ""
    serial: int = field(default=0, compare=False)

    def __str__(self) -> str:
        words = [self.method, str(self.version), self.forwarding, self.check, self.variant]
        return ",".join(word for word in words if word)

    def has(self, words: str) -> bool:
        """Tell whether all of some words, between commas, are among this cell's."""
        return set(words.split(",")) <= set(str(self).split(","))
