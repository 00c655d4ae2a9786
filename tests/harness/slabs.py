"""How many objects the kernel has of a kind: whether something is left behind."""

from pathlib import Path

SLABS = Path("/sys/kernel/slab")
NODES = ("vip_shim_node4", "vip_shim_node6")  # the module's


def objects(cache: str) -> int:
    """Return how many objects of a slab cache are in use, of all caches that it is merged with."""
    home = SLABS / cache
    (home / "shrink").write_text("1")  # a processor's free ones count as used
    return int((home / "objects").read_text().split()[0])


def nbytes(cache: str) -> int:
    """Return what the objects in use take."""
    return objects(cache) * int((SLABS / cache / "slab_size").read_text())


def is_alone(cache: str) -> bool:
    """Tell whether a cache is merged with no other (`slab_nomerge` at boot, or KASAN)."""
    return int((SLABS / cache / "aliases").read_text()) == 0


def exist(*caches: str) -> bool:
    """Tell whether any of these caches is there."""
    return any((SLABS / cache).exists() for cache in caches)
