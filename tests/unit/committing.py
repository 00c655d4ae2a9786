"""What the controller does around a change, without a kernel."""

from vipctl.services.change import Change
from vipctl.state.store import Store


def commit(store: Store, change: Change) -> None:
    """Commit the change twice, as if the kernel had taken it in between."""
    store.begin(change, (), {})
    done(store)


def done(store: Store) -> None:
    """The second commit alone."""
    store.finish({}, {})
