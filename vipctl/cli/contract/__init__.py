"""What `--json` prints, command by command: docs/json.md and docs/json-schema.json are made of it.

No command imports this: tests hold every command to it.
"""
