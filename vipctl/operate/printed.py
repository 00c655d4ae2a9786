"""What all objects of `--json` have: the version of their form, and large numbers twice. Pure."""

from typing import Any

FORMAT = 1  # docs/json.md says what raises it
LARGEST = 2**53  # up to here a reader that takes numbers for floating point has them right
EXACT = "_exact"


def printed(report: dict[str, Any]) -> dict[str, Any]:
    """
    >>> printed({"addresses": 2**64})
    {'format': 1, 'addresses': 18446744073709551616, 'addresses_exact': '18446744073709551616'}
    """
    return {"format": FORMAT, **_exact(report)}


def looked(report: dict[str, Any]) -> dict[str, Any]:
    """Of a command that changes nothing."""
    return printed({"changed": False, **report})


def _exact(value: Any) -> Any:
    if isinstance(value, list):
        return [_exact(one) for one in value]
    if not isinstance(value, dict):
        return value
    large = {f"{k}{EXACT}": str(n) for k, n in value.items() if type(n) is int and n > LARGEST}
    return {key: _exact(one) for key, one in value.items()} | large
