"""The desired state on disk, and the directory that it is in. What the kernel has is not here."""
