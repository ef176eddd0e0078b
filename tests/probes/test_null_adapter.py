"""null_adapter: settings of the calibration, and no probe."""

import pytest

from sway_gate.spec.probes import DeltaKL, NullAdapter, null_settings

PROBE = DeltaKL(name="moved")
OWN = NullAdapter(name="own", runs=16)
SUITES = {
    "none": ((PROBE,), NullAdapter(name="null_adapter")),
    "own": ((PROBE, OWN), OWN),
    "disabled": (
        (NullAdapter(name="off", enabled=False, runs=3),),
        NullAdapter(name="null_adapter"),
    ),
}


@pytest.mark.parametrize(("suite", "expected"), SUITES.values(), ids=SUITES)
def test_the_enabled_entry_or_the_defaults_are_the_settings(suite, expected):
    assert null_settings(suite) == expected


def test_it_is_not_judged():
    assert (PROBE.is_probe, OWN.is_probe) == (True, False)
