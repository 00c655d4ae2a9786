"""Reports as text for people: tables, differences, and a last line that says what changed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from vipctl.cli import daemons, tables
from vipctl.cli.output import printable, styled
from vipctl.operate.outcome import Report, large
from vipctl.services.methods import PACKETS
from vipctl.services.real import OPTIONS

MOST_SHOWN = 1000  # ranges that a person looks at
MOST_DIFFERENCES = 20  # with one cure
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
HEALTH = ["SERVICE", "REAL SERVER", "CHECKS", "WEIGHT", "IN IPVS", "SINCE", "WHY"]
SETTINGS = tuple(map(str.upper, OPTIONS))  # of a real server
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
    listed = _services(report)
    passive = any(form["role"] != "active" for form in (report, *report["services"].values()))
    return f"{listed}\n\n{_role(report)}" if passive else listed


def _services(report: Report) -> str:
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
    parts = [_services(report)] if report["services"] else ["no services"]
    if reals := list(_real_rows(report)):
        headers, *rows = _told(["SERVICE", "REAL SERVER", *SETTINGS, *COUNTERS], reals)
        parts.append(table(headers, rows))
    if checked := list(_health_rows(report)):
        parts.append(table(HEALTH, checked))
    translated = [
        [name, endpoint, f"{found['used']:,}", f"{found['ports']:,}"]
        for name, form in report["services"].items()
        for endpoint, found in form.get("source_ports", {}).items()
    ]
    if translated:
        parts.append(table(["SERVICE", "REAL SERVER", *SOURCE_PORTS], translated))
    if packets := list(_packet_rows(report)):
        parts.append(table(["SERVICE", *PACKETS_HEADERS], packets))
    if unmet := [
        printable(f"sysctl {name} is {found['value']}, should be {found['needed']}")
        for name, found in report["sysctls"].items()
        if not found["ok"]
    ]:
        parts.append("\n".join(unmet))
    used = {form["method"] for form in report["services"].values()}
    parts += [
        printable(f"method {name}: {note}")
        for name, found in report["methods"].items()
        for note in found["notes"] * (name in used)
    ]
    parts += map(printable, (*report["unbalanced"], *report["findings"]))
    parts += [printable(f"sync: {_sync(found)}") for found in [report["sync"]] if found]
    if lines := daemons.relay(report["relay"]):
        parts.append("\n".join(map(printable, lines)))
    parts.append(f"digest: {report['digest']} (of what all directors of these services must have)")
    parts.append(_role(report))
    parts.append(printable(f"watch: {daemons.watch(report['watch'])}"))
    parts += map(printable, daemons.beside(report["watch"]))
    parts.append(kernel(report) + _above(report))
    return "\n\n".join(parts)


def _above(report: Report) -> str:
    """So that the last line is not taken for all there is to say."""
    unmet = [found for found in report["sysctls"].values() if not found["ok"]]
    number = len(unmet) + len(report["unbalanced"]) + len(report["findings"])
    return f"\n  above: {number} more that may keep VIPs from answering" if number else ""


def kernel(report: Report) -> str:
    """What differs, each thing once with what to do about it."""
    colour = "green" if report["kernel"] == "as stored" else "red"
    lines = ["kernel: " + styled(printable(report["kernel"]), fg=colour)]
    for hint, some in groupby(report["differences"], key=lambda one: one["hint"]):
        found = list(some)
        lines += [f"  {printable(_difference(one))}" for one in found[:MOST_DIFFERENCES]]
        if len(found) > MOST_DIFFERENCES:
            lines.append(f"  and {len(found) - MOST_DIFFERENCES} more (vipctl --json status)")
        lines += [f"  → {printable(hint)}"] if hint else []
    return "\n".join(lines)


def _difference(one: Report) -> str:
    """With the service's name, unless it is the director's, or of many."""
    names = one["services"]
    return f"{names[0]}: {one['what']}" if len(names) == 1 else str(one["what"])


def _sync(found: Report) -> str:
    idle = [role for role in ("master", "backup") if not found[role]]
    lost = f"; but there is no {' and no '.join(idle)} so" if idle else ""
    return (
        f"connections go to and come from directors on {found['interface']}, id {found['id']}{lost}"
    )


def comparison(report: Report) -> str:
    lines = map(printable, report["differences"])
    return "equal" if report["equal"] else "\n".join(lines)


def _role(report: Report) -> str:
    if report["role"] == "passive":
        passive = "passive: what is for its VIPs is dropped (vipctl activate)"
        return "role: " + styled(passive, fg="yellow")
    names = [name for name, form in report["services"].items() if form["role"] == "passive"]
    return printable("role: active" + (f", but passive for {', '.join(names)}" if names else ""))


def _packet_rows(report: Report) -> Iterator[list[str]]:
    """What methods have counted; a dash for what one does not."""
    for name, form in report["services"].items():
        if found := form.get("packets"):
            yield [name, *(f"{found[kind]:,}" if kind in found else "-" for kind in PACKETS)]


def _health_rows(report: Report) -> Iterator[list[str]]:
    for name, form in report["services"].items():
        for endpoint, found in form.get("health", {}).items():
            left = "-" if found["effective"] is None else str(found["effective"])
            weights = [str(found["configured"]), left]
            yield [name, endpoint, found["state"], *weights, found["since"] or "-", found["why"]]


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


def _told(headers: list[str], rows: list[list[str]]) -> list[list[str]]:
    """Without the settings, but weights, that all real servers have by default."""
    usual = {key.upper(): str(o.default) for key, o in OPTIONS.items() if key != "weight"}
    shown = [n for n, name in enumerate(headers) if any(row[n] != usual.get(name) for row in rows)]
    return [[row[n] for n in shown] for row in (headers, *rows)]


def _real_rows(report: Report) -> Iterator[list[str]]:
    for name, form in report["services"].items():
        counters: dict[str, Counter[str]] = {}
        for family in form.get("ipvs", {}).values():
            for endpoint, found in family["reals"].items():
                counters.setdefault(endpoint, Counter()).update(found)
        for real in form.get("reals", ()):
            endpoint, *settings = real.split(",")
            told = dict(setting.partition("=")[::2] for setting in settings)
            shown = [told.get(key, str(option.default)) for key, option in OPTIONS.items()]
            known = counters.get(endpoint)
            numbers = [f"{known[k]:,}" if known is not None else "-" for k in COUNTERS.values()]
            yield [name, endpoint, *shown, *numbers]
