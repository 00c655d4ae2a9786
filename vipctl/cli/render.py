"""Reports as text for people: tables, differences, and a last line that says what changed."""

from collections.abc import Iterable, Iterator
from typing import Any

from vipctl.cli import tables
from vipctl.cli.output import printable, styled
from vipctl.operate.outcome import Report, large
from vipctl.services.methods import PACKETS
from vipctl.services.real import OPTIONS

MOST_SHOWN = 1000  # ranges that a person looks at
ALL_OF_THEM = "one by one: vipctl --json list-ranges, or vipctl export"
PENDING = "an earlier command was interrupted; the next changing command repairs what it left"


def table(headers: list[str], rows: Iterable[Iterable[object]]) -> str:
    return tables.table(headers, rows, RIGHT)


SIGNS = {"well": "✓", "cause": "✗", "unknown": "?"}
COLOURS = {"well": "green", "cause": "red", "unknown": "yellow"}
COUNTERS = {
    "CONNECTIONS": "connections",
    "ACTIVE": "active",
    "INACTIVE": "inactive",
    "PACKETS IN": "packets_in",
    "PACKETS OUT": "packets_out",
}
SOURCE_PORTS = "SOURCE PORTS USED", "OF"
PACKETS_HEADERS = [words.upper() for words in PACKETS.values()]
NUMBERS = {key.upper() for key, option in OPTIONS.items() if option.typed is int}
RIGHT = {*NUMBERS, "IN IPVS", "PREFIXES", "ADDRESSES", *COUNTERS, *PACKETS_HEADERS, *SOURCE_PORTS}


def difference(before: str, after: str) -> str:
    import difflib

    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", lineterm=""
    )
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "\n".join(styled(printable(line), fg=colours.get(line[0])) for line in lines)


def outcome(report: Report) -> str:
    """The last line of a changing command."""
    if not report["changed"]:
        why = f": {report['idle']}" if report["idle"] else ""
        return printable(f"unchanged{why}")
    verb = "would change" if report["check"] else "changed"
    what = "; ".join(one["what"] for one in report["changes"])
    return styled(verb, fg="yellow") + ": " + printable(what)


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


def explanation(report: Report) -> str:
    """The way as a numbered list, with what shows the same and what to do."""
    by = f" by {report['device']}" if report["device"] else ""
    lines = [f"{report['client']} asks {report['address']} {report['port']}{by}:"]
    lines += _steps(report["steps"], shown=tuple(SIGNS))
    for one in report["hints"]:
        lines.append(printable(f"hint: {one['says']} [{one['id']}]"))
        lines.append(f"      → {printable(one['fix'])}")
    return "\n".join([*lines, _found(report)])


def _steps(steps: list[Report], shown: tuple[str, ...]) -> Iterator[str]:
    """Numbered; what shows the same of those in one of the states `shown`."""
    for number, step in enumerate(steps, 1):
        sign = styled(SIGNS[step["state"]], fg=COLOURS[step["state"]])
        cause = f" [{step['cause']}]" if step["cause"] else ""
        yield f"{number:3} {sign} {printable(step['says'] + cause)}"
        if step["evidence"] and step["state"] in shown:
            yield f"      $ {printable(step['evidence'])}"
        if step["fix"]:
            yield f"      → {printable(step['fix'])}"


def _found(report: Report) -> str:
    if not report["causes"]:
        return "no cause found on this director; what is marked ? cannot be told from here"
    return "cause: " + styled(", ".join(report["causes"]), fg="red") + " (docs/explain.md)"


def examination(report: Report) -> str:
    """All that was looked at; what shows it, where it is not well."""
    lines = _steps(report["checks"], shown=("cause", "unknown"))
    if not report["causes"]:
        return "\n".join([*lines, "nothing found; what is marked ? cannot be told from here"])
    found = styled(", ".join(report["causes"]), fg="red")
    return "\n".join([*lines, f"found: {found} (docs/doctor.md)"])


def services(report: Report) -> str:
    """With the role, unless all is active."""
    found = listed(report)
    passive = any(form["role"] != "active" for form in (report, *report["services"].values()))
    return f"{found}\n\n{role(report)}" if passive else found


def listed(report: Report) -> str:
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


def comparison(report: Report) -> str:
    lines = map(printable, report["differences"])
    return "equal" if report["equal"] else "\n".join(lines)


def role(report: Report) -> str:
    if report["role"] == "passive":
        passive = "passive: what is for its VIPs is dropped (vipctl activate)"
        return "role: " + styled(passive, fg="yellow")
    names = [name for name, form in report["services"].items() if form["role"] == "passive"]
    return printable("role: active" + (f", but passive for {', '.join(names)}" if names else ""))


def checks(report: Report) -> str:
    headers = ["SERVICE", "REAL SERVER", "CHECK", "STATE", "SINCE", "WHY"]
    rows = (
        [
            *(found[key] for key in ("service", "real", "check", "state")),
            found["since"] or "-",
            found["doubt"] or found["why"],
        ]
        for found in report["checks"]
    )
    return table(headers, rows)


def log(report: Report) -> str:
    """A line for each, as it stands in the journal."""
    lines = (
        f"{one['at']} {one['command']}: {one['outcome']} ({_by(one)})" for one in report["entries"]
    )
    return "\n".join(map(printable, lines)) or "the journal has no command that changed anything"


def _by(entry: Report) -> str:
    names = {"uid": "uid", "sudo_user": "SUDO_USER", "tty": "tty", "login_uid": "login uid"}
    return ", ".join(f"{said} {entry[name]}" for name, said in names.items() if entry[name])
