"""The certificate by which `vipctl sync` proves who it is: from when to when it is good.

The standard library reads dates of certificates of peers alone; so they are looked for in DER, as
X.690 and RFC 5280 have it.
"""

import time
from binascii import a2b_base64
from collections.abc import Iterator
from datetime import datetime

from vipctl.diagnosis.director import machine
from vipctl.diagnosis.director.machine import Machine
from vipctl.diagnosis.steps import Step, ill, unknown, well
from vipctl.state import runtime

FILE, UNIT = "/etc/vipctl/sync/cert.pem", "vipctl-sync.service"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
EVIDENCE = f"openssl x509 -noout -dates -in {FILE}"
RENEW = f"a new {FILE} and key.pem (docs/two-directors.md); systemctl restart vipctl-sync"
CLOCK = "set the clock: timedatectl"
SOON = 14 * 86400  # seconds
SEQUENCE, VERSION, INTEGER, SHORT_YEAR = 0x30, 0xA0, 0x02, 0x17
Part = tuple[int, bytes]  # tag, content


def sync(found: Machine) -> Iterator[Step]:
    name = "certificate"
    text = machine.read(FILE) if (found.own and found.starts(UNIT)) or _runs() else ""
    if BEGIN not in text:
        return
    try:
        first, last = _dates(text)
    except (ValueError, IndexError):
        yield unknown(name, f"{FILE} is no certificate in PEM", EVIDENCE)
        return
    now = time.time()
    if now < first:
        says = f"{FILE} is not good before {_day(first)}, and the clock says {_day(now)}"
        yield ill(name, "certificate-not-yet", says, CLOCK, EVIDENCE)
    elif now > last:
        says = f"{FILE} has expired on {_day(last)}: other directors refuse this one"
        yield ill(name, "certificate-expired", says, RENEW, EVIDENCE)
    elif last - now < SOON:
        says = f"{FILE} expires on {_day(last)}: other directors will refuse this one"
        yield ill(name, "certificate-expires", says, RENEW, EVIDENCE)
    else:
        yield well(name, f"{FILE} is good until {_day(last)}", EVIDENCE)


def _runs() -> bool:
    return runtime.ask(runtime.SYNC) is not None


def _dates(pem: str) -> tuple[float, float]:
    """Seconds since 1970. Raises ValueError (binascii.Error is one) or IndexError."""
    encoded = pem.partition(BEGIN)[2].partition(END)[0]
    ((_, whole), *_) = _parts(a2b_base64(encoded))
    ((_, body), *_) = _parts(whole)
    fields = [part for part in _parts(body) if part[0] != VERSION]
    if [tag for tag, _ in fields[:4]] != [INTEGER, *[SEQUENCE] * 3]:
        raise ValueError("no certificate")
    first, last = _parts(fields[3][1])  # behind serial number, algorithm, issuer
    return _moment(*first), _moment(*last)


def _parts(content: bytes) -> list[Part]:
    found, at = list[Part](), 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size & 0x80:
            length = size & 0x7F
            size, at = int.from_bytes(content[at : at + length], "big"), at + length
        found.append((tag, content[at : at + size]))
        at += size
    return found


def _moment(tag: int, content: bytes) -> float:
    """Such as 311231235959Z, where years up to 49 are of this century, or with the whole year."""
    text = content.decode("ascii").rstrip("Z")
    if tag == SHORT_YEAR:
        text = ("20" if text < "50" else "19") + text
    return datetime.strptime(text + "+0000", "%Y%m%d%H%M%S%z").timestamp()


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
