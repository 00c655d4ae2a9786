"""What `--json` prints, command by command: docs/json.md is made of it.

No command imports this: tests hold every command to it.
"""
