"""The order in which `vipctl --help` lists the commands."""

SECTIONS = {
    "VIPs and services": (
        "add-range", "remove-range", "move-range", "list-ranges", "lookup",
        "add-service", "set-service", "rename-service", "remove-service", "list-services",
        "add-port", "remove-port",
    ),
    "Real servers": (
        "add-real", "set-real", "drain-real", "undrain-real", "replace-real", "remove-real",
        "list-checks",
    ),
    "Look": ("status", "explain", "doctor", "log", "metrics"),
    "The whole director": (
        "export", "apply", "import", "restore", "watch", "set-director",
    ),
    "Directors and routers beside it": (
        "activate", "deactivate", "diff", "set-sync", "remove-sync", "sync",
        "announce", "configure",
    ),
}  # fmt: skip
