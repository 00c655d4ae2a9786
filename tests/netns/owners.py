"""Two state directories and one kernel: what one has taken over, the other leaves as it is."""

from collections.abc import Callable
from dataclasses import replace

from tests.harness.command import Vipctl

RANGE = ("add-range", "203.0.113.0/24")
CHANGING = (
    (*RANGE, "--service", "web"),
    ("add-range", "192.0.2.0/24", "--service", "web"),
    ("remove-service", "web"),
    ("add-service", "other"),
    ("--check", "add-range", "192.0.2.0/24", "--service", "web"),
)


def options(method: str) -> list[str]:
    return ["--method", method, *(("--to-port", "8080") if method == "tproxy" else ())]


def another(vipctl: Vipctl) -> Vipctl:
    """With a state directory of its own."""
    return replace(vipctl, state_dir=vipctl.state_dir.with_name("other"))


def assert_left(vipctl: Vipctl, ours: str, theirs: str, look: Callable[[], object]) -> None:
    """Until it is taken back. Each says whom to ask; `look` is at all that could have changed."""
    other = another(vipctl)
    vipctl(*RANGE, "--service", "web", *options(ours))
    assert other.error("add-range", "198.51.100.0/24", "--fwmark", "18")[0] == 3
    assert other("restore", "--force")["changed"] is True
    other("add-range", "198.51.100.0/24", "--service", "theirs", *options(theirs))
    before = look()
    for words in CHANGING:
        code, error = vipctl.error(*words)
        assert (code, error["kind"]) == (3, "refused"), words
        assert "another state directory" in error["message"]
        assert "--state-dir" in error["hint"]
        assert "restore" in error["hint"]
    assert "another state directory" in vipctl("status")["kernel"]
    assert look() == before
    assert other("add-range", "192.0.2.0/24", "--service", "theirs")["restored"] is False
    assert vipctl("restore")["changed"] is True
    assert vipctl("status")["kernel"] == "as stored"
    assert other.error("add-range", "192.0.2.1", "--service", "theirs")[0] == 3
    vipctl("remove-service", "web")


def assert_a_service_stays_ours(vipctl: Vipctl, methods: tuple[str, ...]) -> None:
    """Also while it is with two methods, as it changes from one to the other."""
    other = another(vipctl)
    vipctl(*RANGE, "--service", "web", *options(methods[-1]))
    for method in methods:
        vipctl("set-service", "web", "--method", method)
        code, error = other.error("add-service", "theirs")
        assert code == 3, error
        assert vipctl(*RANGE, "--service", "web")["restored"] is False
    vipctl("remove-service", "web")
