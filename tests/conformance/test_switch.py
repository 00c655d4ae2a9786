"""A service goes from each method to each other while its traffic goes on."""

from itertools import permutations

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.test_switch import METHODS
from tests.vm.conftest import net, vipctl  # noqa: F401 (fixtures)
from tests.vm.test_switch import change_method


@pytest.mark.usefixtures("vip_shim")
@pytest.mark.parametrize(("old", "new"), permutations(METHODS, 2))
def test_a_service_changes_its_method(net: Lab, vipctl: Vipctl, old: str, new: str) -> None:  # noqa: F811
    change_method(net, vipctl, old, new)
