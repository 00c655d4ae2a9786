"""Figures as words. Pure."""

from collections.abc import Sequence


def digits(number: float, count: int = 2) -> str:
    """Return a number with so many digits that say something."""
    if number >= 10 ** (count - 1):
        return f"{number:,.0f}"
    return f"{float(f'{number:.{count - 1}e}'):.10f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """Return a duration: 1.2 s, 130 ms."""
    return f"{digits(value)} s" if value >= 0.9995 else f"{digits(value * 1e3)} ms"


def nbytes(value: float) -> str:
    """Return an amount of memory."""
    return f"{digits(value / 1e6)} MB"


def ratio(value: float) -> str:
    """Return how many times."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 0.01 else "< 0.01"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
