"""With the plugin: a test of each probe, and `__gate__` of the whole, to which the function's body belongs."""

import pytest

from sway_gate.results import GateResult


@pytest.mark.sway(spec="sway.yaml", threshold=0.7)
def test_release(sway_result: GateResult) -> None:
    probes = {probe.name: probe for probe in sway_result.probes}
    sections = probes["learned_the_document"].details["sections"]
    assert all(section["passed"] for section in sections)
