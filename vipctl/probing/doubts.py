"""Why a question failed; and whether the director is to blame, so that nothing is known."""

import errno
import ssl

from vipctl.errors import VipctlError
from vipctl.linux import answers, ipvs
from vipctl.linux.ipvs.messages import Key
from vipctl.probing.asking import Asking
from vipctl.services.checks import Answer, Target

# Of the director: out of descriptors, memory or ports; its firewall (EPERM) or routes refuse.
OURS = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EADDRINUSE,
    errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT, errno.EAGAIN, errno.EINVAL, errno.ENETDOWN,
}  # fmt: skip
WORDS = {
    errno.ECONNREFUSED: "nothing listens on {0}",
    errno.ECONNRESET: "{0} reset the connection",
    errno.EPIPE: "{0} closed the connection",
    errno.EHOSTUNREACH: "{0} cannot be reached: no host answers there",
    errno.ENETUNREACH: "{0} cannot be reached: the director has no route to it",
}


def is_ours(target: Target, error: OSError) -> bool:
    """Whether the director could not ask; it must have a route to a VIP, if only to leave it."""
    unrouted = target.mark and error.errno == errno.ENETUNREACH
    return bool(error.errno in OURS or unrouted) and not isinstance(error, ssl.SSLError)


def refuses(answer: Answer) -> bool:
    """Whether it is a host that is there which says no."""
    return answer.passed is False and answer.why.startswith(WORDS[errno.ECONNREFUSED].format(""))


def words(asking: Asking, error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {asking.endpoint}: {_reason(error)}"
    known = WORDS.get(error.errno or 0)
    return (
        known.format(asking.endpoint) if known else f"{asking.endpoint}: {error.strerror or error}"
    )


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "it ended").replace("_", " ").lower()


def of_way(target: Target) -> str:
    """What keeps answers of a target that is asked through a VIP from coming, if it is here."""
    if not target.mark or target.real is None:
        return ""
    try:
        return _unbalanced(target) or answers.refused(target.address, target.real)
    except (VipctlError, OSError) as e:
        return f"the way through IPVS could not be looked at: {e}"


def _unbalanced(target: Target) -> str:
    if ipvs.services({Key(target.mark, target.address.version)}):
        return ""
    return f"IPVS has no service of fwmark {target.mark:#x}, by which the check goes"
