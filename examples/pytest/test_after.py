"""With the plugin: one test per probe, and `__gate__` for the verdict, with the body below."""

import pytest

from sway_gate.results import GateResult


@pytest.mark.sway(spec="sway.yaml", threshold=0.7)
def test_release(sway_result: GateResult) -> None:
    probes = {probe.name: probe for probe in sway_result.probes}
    sections = probes["learned_the_document"].details["sections"]
    assert all(section["passed"] for section in sections)
