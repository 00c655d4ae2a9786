"""What `status` says, as text for people."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from vipctl.cli import daemons, render
from vipctl.cli.output import printable, styled
from vipctl.operate.outcome import Report
from vipctl.services.methods import PACKETS
from vipctl.services.real import OPTIONS

MOST_DIFFERENCES = 20  # with one cure
HEALTH = ["SERVICE", "REAL SERVER", "CHECKS", "WEIGHT", "IN IPVS", "SINCE", "WHY"]
SETTINGS = tuple(map(str.upper, OPTIONS))  # of a real server


def text(report: Report) -> str:
    parts = [render.listed(report)] if report["services"] else ["no services"]
    if reals := list(_real_rows(report)):
        headers, *rows = _told(["SERVICE", "REAL SERVER", *SETTINGS, *render.COUNTERS], reals)
        parts.append(render.table(headers, rows))
    if checked := list(_health_rows(report)):
        parts.append(render.table(HEALTH, checked))
    translated = [
        [name, endpoint, f"{found['used']:,}", f"{found['ports']:,}"]
        for name, form in report["services"].items()
        for endpoint, found in form.get("source_ports", {}).items()
    ]
    if translated:
        parts.append(render.table(["SERVICE", "REAL SERVER", *render.SOURCE_PORTS], translated))
    if packets := list(_packet_rows(report)):
        parts.append(render.table(["SERVICE", *render.PACKETS_HEADERS], packets))
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
    parts.append(render.role(report))
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
            numbers = [
                f"{known[k]:,}" if known is not None else "-" for k in render.COUNTERS.values()
            ]
            yield [name, endpoint, *shown, *numbers]
