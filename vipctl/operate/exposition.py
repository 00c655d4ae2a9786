"""Samples as Prometheus reads them, by its own client library."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app, write_to_textfile
from prometheus_client.core import Metric as Family

from vipctl.errors import Missing
from vipctl.files import Where
from vipctl.operate.measuring import samples
from vipctl.operate.metrics import METRICS, Metric

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


class Director:
    """A collector, in the library's sense, of one state directory: it measures when asked."""

    def __init__(self, state_dir: Where) -> None:
        self._state_dir = state_dir

    def collect(self) -> Iterator[Family]:
        families = {name: _family(name, one) for name, one in METRICS.items()}
        for name, value, labels in samples(self._state_dir):
            named = dict(zip(METRICS[name].labels, labels, strict=True))
            families[name].add_sample(name, named, float(value))
        return (family for family in families.values() if family.samples)


def _family(name: str, metric: Metric) -> Family:
    kind = "counter" if metric.counter else "gauge"
    return Family(name.removesuffix("_total"), metric.help, kind)


def registry(state_dir: Where) -> CollectorRegistry:
    found = CollectorRegistry(auto_describe=False)
    found.register(Director(state_dir))
    return found


def application(state_dir: Where) -> "WSGIApplication":
    """For an HTTP server: each request measures."""
    found: WSGIApplication = make_wsgi_app(registry(state_dir))
    return found


def text(state_dir: Where) -> str:
    return generate_latest(registry(state_dir)).decode()


def write(state_dir: Where, path: str) -> None:
    """Replaces a file in one step. Raises Missing."""
    try:
        write_to_textfile(path, registry(state_dir))
    except OSError as e:
        raise Missing(
            f"cannot write {path}: {e.strerror}", hint="name a file in a directory that is there"
        ) from e
