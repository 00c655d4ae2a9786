"""Reports as text for people: tables, a difference, a last line that says what happened."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import click

from vipctl.report import Report

PENDING = "an earlier command was interrupted; the next changing command repairs what it left"


def table(headers: list[str], rows: Iterable[Iterable[object]]) -> str:
    from tabulate import tabulate

    cells = [[str(cell) for cell in row] for row in rows]
    numeric = ["right" if h in RIGHT else "left" for h in headers]
    styled = [click.style(h, bold=True) for h in headers]
    return tabulate(cells, styled, tablefmt="plain", disable_numparse=True, colalign=numeric)


COUNTERS = {
    "CONNECTIONS": "connections",
    "ACTIVE": "active",
    "INACTIVE": "inactive",
    "PACKETS IN": "packets_in",
    "PACKETS OUT": "packets_out",
}
RIGHT = {"WEIGHT", "PREFIXES", "ADDRESSES", *COUNTERS}


def difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", lineterm=""
    )
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "\n".join(click.style(line, fg=colours.get(line[0])) for line in lines)


def outcome(report: Report) -> str:
    """The last line of a changing command."""
    if not report["changed"]:
        return "unchanged"
    verb = {True: "would be ", False: ""}[report["check"]]
    parts = list(_happened(report))
    return click.style(f"{verb}changed", fg="yellow") + (": " + "; ".join(parts) if parts else "")


def _happened(report: Report) -> Iterator[str]:
    if report["restored"]:
        done = "would be" if report["check"] else "was"
        yield f"the kernel was not as stored and {done} restored"
    for sign, key in (("added", "added"), ("removed", "removed")):
        size = report[key]
        if size["addresses"]:
            addresses = _count(size["addresses"], "address", "es")
            yield f"{sign} {addresses} in {_count(size['prefixes'], 'prefix', 'es')}"
    for name, service in report["services"].items():
        yield f"service {name}, fwmark {service['fwmark']:#x}"
    for name in report["removed_services"]:
        yield f"service {name} ended"


def _count(number: int, word: str, plural: str) -> str:
    return f"{_large(number)} {word}{plural if number != 1 else ''}"


def ranges(report: Report) -> str:
    return table(["RANGE", "SERVICE"], ((r["range"], r["service"]) for r in report["ranges"]))


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
    sizes = [f"{form['prefixes']:,}", _large(form["addresses"])]
    return [name, f"{form['fwmark']:#x}", form["method"], *balance, ports, reals, *sizes]


def _large(number: int) -> str:
    return f"{number:,}" if number < 10**12 else f"2^{number.bit_length() - 1}"


def status(report: Report) -> str:
    parts = [services(report)] if report["services"] else ["no services"]
    reals = list(_real_rows(report))
    if reals:
        parts.append(table(["SERVICE", "REAL SERVER", "WEIGHT", *COUNTERS], reals))
    unmet = {n: s for n, s in report["sysctls"].items() if s["value"] not in (None, s["needed"])}
    parts += [f"sysctl {n} is {s['value']}, should be {s['needed']}" for n, s in unmet.items()]
    colour = "green" if report["kernel"] == "as stored" else "red"
    parts.append("kernel: " + click.style(report["kernel"], fg=colour))
    return "\n\n".join(parts)


def _real_rows(report: Report) -> Iterator[list[str]]:
    for name, form in report["services"].items():
        counters = {
            endpoint: found
            for family in form.get("ipvs", {}).values()
            for endpoint, found in family["reals"].items()
        }
        for real in form.get("reals", ()):
            endpoint, _, weight = real.partition(",weight=")
            found = counters.get(endpoint)
            numbers = [f"{found[k]:,}" if found else "-" for k in COUNTERS.values()]
            yield [name, endpoint, weight or "1", *numbers]
