"""`python -m vipctl`."""

from vipctl.cli import main

main()
