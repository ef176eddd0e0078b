"""The words and numbers that all reports share."""

import pytest

from sway_gate.reports.wording import evidence
from tests.helpers.results import drift, probe

EVIDENCE = {
    "effect": (probe(z=5.12), "+5.1σ"),
    "no z": (probe(z=None), "–"),
    "passing share": (
        drift(verdict="pass", z=2.9, bound=0.0713, margin=0.15),
        "≤ 0.0713, margin 0.15",
    ),
    "failing share": (
        drift(verdict="fail", z=-1.0, bound=0.31, margin=0.15),
        "≤ 0.31, margin 0.15",
    ),
    "passing change": (
        drift(verdict="pass", z=5.1, bound=-0.006, margin=-0.1),
        "≥ -0.006, margin -0.1",
    ),
    "failing change": (
        drift(verdict="fail", z=-5.1, bound=-0.4, margin=-0.1),
        "≥ -0.4, margin -0.1",
    ),
    "close": (
        drift(verdict="warn", z=1.64, bound=0.150001, margin=0.15),
        "≤ 0.150001, margin 0.15",
    ),
}


@pytest.mark.parametrize(("result", "text"), EVIDENCE.values(), ids=EVIDENCE)
def test_the_evidence_of_a_harm_is_its_bound(result, text):
    assert evidence(result) == text
