"""The use case of a daemon: whatever others changed is put back."""

from collections.abc import Collection
from typing import NamedTuple

from vipctl.errors import KernelError
from vipctl.operate import owned
from vipctl.operate.changing import Changing, refuse_foreign_state
from vipctl.reconcile import healing, looking
from vipctl.reconcile.looking import Found
from vipctl.state.directory import lock
from vipctl.state.store import Store


class Looked(NamedTuple):
    """What differed from the stored state, in words; whether it was put back; what cannot be.

    `undone`: it was put back, but somebody was faster in taking it away again. `hidden` is what was
    left as it is, and is not found by a look that does not compare every prefix. `unserved` are
    those problems with which VIPs are not accepted, or not balanced.
    """

    differing: frozenset[str]
    healed: bool = False
    problems: tuple[str, ...] = ()
    undone: bool = False
    hidden: frozenset[str] = frozenset()
    unserved: tuple[str, ...] = ()


class Watching(Changing):
    """Of one state directory and the network namespace of the calling thread."""

    __slots__ = ()

    def heal(self, whole: Collection[str], spare: Collection[str] = ()) -> Looked:
        """Puts back what differs, unless all of it is to be spared. Raises Refused.

        Every prefix is compared of the methods in `whole`, if the kernel's own count says that
        others changed any, or there is none. With an empty one, no command has to wait for the
        look of a daemon that finds nothing.
        """
        if self.check or not whole:
            seen = self._seen(whole)
            if not seen.differing - set(spare):
                return seen
        if self.check:
            with lock(self.state_dir):  # until then, a command may have been at work
                return self._seen(whole)
        return self._healed(whole, spare)

    def _seen(self, whole: Collection[str]) -> Looked:
        with self._replace(check=True)._session() as store:
            found = self._look(store, whole)
            looking.foresee(store, found)
            return _left(store, found)

    def _healed(self, whole: Collection[str], spare: Collection[str]) -> Looked:
        with self._session() as store:
            found = self._look(store, whole)
            differing = found.differing()
            if differing and differing <= set(spare):
                return _left(store, found)
            try:
                healed = healing.heal(store, found, self.notify)
            except KernelError as e:
                return Looked(differing, problems=(e.message,), undone=True)
            problems = _problems(store, found)
            return Looked(differing, healed, problems, unserved=_unserved(store, found))

    def _look(self, store: Store, whole: Collection[str]) -> Found:
        refuse_foreign_state(store, adopt=False)
        found = looking.look(store, whole=whole)
        self._refuse_taking_over(store, found, adopt=False)
        return found

    def own_vips(self) -> tuple[str, ...]:
        """What is to be said of addresses of the director that are VIPs."""
        with Store.read(self.state_dir) as store:
            return tuple(owned.findings(store))


def _left(store: Store, found: Found) -> Looked:
    differing = found.differing()
    plain = looking.look(store).differing() if found.whole and differing else differing
    problems, unserved = _problems(store, found), _unserved(store, found)
    return Looked(differing, False, problems, hidden=differing - plain, unserved=unserved)


def _problems(store: Store, found: Found) -> tuple[str, ...]:
    return (*map(str, found.lacking.problems(store)), *found.warnings)


def _unserved(store: Store, found: Found) -> tuple[str, ...]:
    return tuple(str(problem) for problem in found.lacking.unserved(store))
