"""What the benchmark of the data path asks for can be had, in each of its cases."""

import pytest

from benchmarks.datapath.inside import balanced
from benchmarks.datapath.plan import METHODS, SIZES, Case, cases
from vipctl.addresses.prefixes import VERSIONS
from vipctl.linux import ipvs


@pytest.mark.parametrize("case", list(cases(METHODS, SIZES, mixed=True)), ids=str)
def test_ipvs_has_a_service_for_each_ip_version(case: Case) -> None:
    assert {key.version for key in ipvs.desired([balanced(case)])} == set(VERSIONS)
