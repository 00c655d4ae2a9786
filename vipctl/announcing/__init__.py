"""Snippets of configuration with which other daemons lead VIPs to this director; pure.

A file for each daemon, with `text`. What only this director has is in `local`. Each setting that a
snippet has beside addresses was found necessary by losing packets without it.
"""
