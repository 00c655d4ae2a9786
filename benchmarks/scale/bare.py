"""The least that a program with click can be: what a start costs anybody."""

import click


@click.command()
@click.version_option("0")
def main() -> None:
    """Do nothing."""


if __name__ == "__main__":
    main()
