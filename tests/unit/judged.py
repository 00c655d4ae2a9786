"""Verdicts on the real servers of a service, drawn by hypothesis."""

from hypothesis import strategies as st

from vipctl.health.verdicts import Finding, OfService, State, Told, Verdict, Verdicts
from vipctl.services.agents import Admin, Running
from vipctl.services.service import Service

TEXTS = st.text(max_size=9)
TIMES = st.floats(0, 1e9)
FINDINGS = st.builds(Finding, st.sampled_from([None, True, False]), TIMES, TEXTS, TEXTS)
TOLD = st.builds(
    Told,
    st.integers(0, 400),
    st.sampled_from(Admin),
    st.sampled_from(Running),
    TIMES,
    TEXTS,
    TEXTS,
)
VERDICTS = st.builds(
    Verdict,
    st.sampled_from(State),
    TIMES,
    TEXTS,
    st.sampled_from([0, 5, 50, 95, 100, 100, 150]),
    st.booleans(),
    st.dictionaries(TEXTS, FINDINGS, max_size=2),
    st.none() | TOLD,
    st.floats(0.1, 4),
    st.booleans(),
)


@st.composite
def verdicts_on(draw: st.DrawFn, service: Service) -> Verdicts:
    """On some of its real servers, and on one that it does not have."""
    endpoints = [real.endpoint for real in service.reals] + ["192.0.2.99"]
    reals = draw(st.dictionaries(st.sampled_from(endpoints), VERDICTS))
    return Verdicts(
        {service.name: OfService(service.fwmark, reals, draw(st.booleans()), (draw(TEXTS),))}
    )
