"""The use case of a daemon: whatever others changed is put back."""

from collections.abc import Collection
from typing import NamedTuple

from vipctl.operate.changing import Changing, refuse_foreign_state
from vipctl.reconcile import healing


class Looked(NamedTuple):
    """What differed from the stored state, in words; whether it was put back; what cannot be."""

    differing: frozenset[str]
    healed: bool = False
    problems: tuple[str, ...] = ()


class Watching(Changing):
    """Of one state directory and the network namespace of the calling thread."""

    __slots__ = ()

    def heal(self, whole: Collection[str], spare: Collection[str] = ()) -> Looked:
        """Puts back what differs, unless all of it is to be spared. Raises Refused.

        Every prefix is compared of the methods in `whole`, if the kernel's own count says that
        others changed any, or there is none. With an empty one, no command has to wait for the
        look of a daemon that finds nothing.
        """
        if not (whole or self.check):
            seen = self._replace(check=True).heal(whole)
            if not seen.differing - set(spare):
                return seen
        with self._session() as store:
            refuse_foreign_state(store, adopt=False)
            found = healing.look(store, whole=whole)
            self._refuse_taking_over(store, found, adopt=False)
            differing = found.differing()
            healed = False
            if self.check:
                healing.foresee(store, found)
            elif differing - set(spare) or not differing:
                healed = healing.heal(store, found, self.notify)
            problems = tuple(map(str, found.lacking.problems(store)))
            return Looked(differing, healed, (*problems, *found.warnings))
