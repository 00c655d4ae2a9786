"""Reports as text for people: tables, differences, and a last line that says what changed."""

from collections.abc import Iterable, Iterator
from typing import Any

import click

from vipctl.cli.output import printable
from vipctl.operate.outcome import Report, large
from vipctl.services.methods import METHODS
from vipctl.services.real import OPTIONS

MOST_SHOWN = 1000  # ranges that a person looks at
ALL_OF_THEM = "one by one: vipctl --json list-ranges, or vipctl export"
PENDING = "an earlier command was interrupted; the next changing command repairs what it left"


def table(headers: list[str], rows: Iterable[Iterable[object]]) -> str:
    from tabulate import tabulate

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    numeric = ["right" if h in RIGHT else "left" for h in headers]
    styled = [click.style(h, bold=True) for h in headers]
    aligned = numeric if cells else None  # tabulate 0.9 has no columns where there are no rows
    return tabulate(cells, styled, tablefmt="plain", disable_numparse=True, colalign=aligned)


COUNTERS = {
    "CONNECTIONS": "connections",
    "ACTIVE": "active",
    "INACTIVE": "inactive",
    "PACKETS IN": "packets_in",
    "PACKETS OUT": "packets_out",
}
SETTINGS = tuple(map(str.upper, OPTIONS))  # of a real server
RIGHT = {*SETTINGS, "PREFIXES", "ADDRESSES", *COUNTERS}


def difference(before: str, after: str) -> str:
    import difflib

    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", lineterm=""
    )
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "\n".join(click.style(printable(line), fg=colours.get(line[0])) for line in lines)


def outcome(report: Report) -> str:
    """The last line of a changing command."""
    if not report["changed"]:
        why = f": {report['idle']}" if report["idle"] else ""
        return printable(f"unchanged{why}")
    verb = "would change" if report["check"] else "changed"
    return click.style(verb, fg="yellow") + ": " + printable("; ".join(report["changes"]))


def ranges(report: Report) -> str:
    if "summary" in report:
        rows = [
            (row["service"], f"IPv{row['version']} /{row['length']}", f"{row['prefixes']:,}")
            for row in report["summary"]
        ]
        return table(["SERVICE", "RANGES", "PREFIXES"], rows) + f"\n\n{ALL_OF_THEM}"
    return table(["RANGE", "SERVICE"], ((r["range"], r["service"]) for r in report["ranges"]))


def holders(report: Report) -> str:
    """An address that no service has gets a row too."""
    headers = ["ADDRESS", "SERVICE", "RANGE", "METHOD", "FWMARK", "PORTS", "REALS", "KERNEL"]
    rows = [
        [found["address"], *row]
        for found in report["addresses"]
        for row in [_holder(one) for one in found["holders"]] or [["no service has it"]]
    ]
    return table(headers, ([*row, *[""] * (len(headers) - len(row))] for row in rows))


def _holder(found: Report) -> list[str]:
    ports = " ".join(found["ports"]) or "all"
    reals = " ".join(found["reals"]) if "reals" in found else "-"
    by = [found["method"], f"{found['fwmark']:#x}"]
    return [found["service"], found["range"], *by, ports, reals, found["kernel"]]


def services(report: Report) -> str:
    return table(
        [
            "SERVICE",
            "FWMARK",
            "METHOD",
            "FORWARD",
            "SCHEDULER",
            "PORTS",
            "REALS",
            "PREFIXES",
            "ADDRESSES",
        ],
        (_service_row(name, form) for name, form in report["services"].items()),
    )


def _service_row(name: str, form: dict[str, Any]) -> list[str]:
    ports = " ".join(form["ports"]) or "all"
    balance = [form.get("forward", "-"), form.get("scheduler", "-")]
    reals = str(len(form["reals"])) if "reals" in form else "-"
    sizes = [f"{form['prefixes']:,}", large(form["addresses"])]
    return [name, f"{form['fwmark']:#x}", form["method"], *balance, ports, reals, *sizes]


def status(report: Report) -> str:
    parts = [services(report)] if report["services"] else ["no services"]
    reals = list(_real_rows(report))
    if reals:
        parts.append(table(["SERVICE", "REAL SERVER", *SETTINGS, *COUNTERS], reals))
    for method, features in METHODS.items():
        packets = [
            [name, *(f"{form[method][key]:,}" for key in features.counters)]
            for name, form in report["services"].items()
            if method in form
        ]
        if packets:
            parts.append(table(["SERVICE", *map(str.upper, features.counters.values())], packets))
    parts += [
        printable(f"sysctl {name} is {found['value']}, should be {found['needed']}")
        for name, found in report["sysctls"].items()
        if not found["ok"]
    ]
    parts += [
        printable(f"method {name}: {note}")
        for name, found in report["methods"].items()
        for note in found["notes"]
    ]
    parts += map(printable, report["findings"])
    parts += map(printable, report["problems"])
    colour = "green" if report["kernel"] == "as stored" else "red"
    parts.append("kernel: " + click.style(printable(report["kernel"]), fg=colour))
    return "\n\n".join(parts)


def _real_rows(report: Report) -> Iterator[list[str]]:
    for name, form in report["services"].items():
        counters = {
            endpoint: found
            for family in form.get("ipvs", {}).values()
            for endpoint, found in family["reals"].items()
        }
        for real in form.get("reals", ()):
            endpoint, *settings = real.split(",")
            told = dict(setting.partition("=")[::2] for setting in settings)
            shown = [told.get(key, str(option.default)) for key, option in OPTIONS.items()]
            found = counters.get(endpoint)
            numbers = [f"{found[k]:,}" if found else "-" for k in COUNTERS.values()]
            yield [name, endpoint, *shown, *numbers]
