"""The history of results: verdict changes, and values that cannot be compared."""

from typing import Any

import pytest
from msgspec import structs

from sway_gate.compare.history import History, Stored, history
from sway_gate.results import Category, GateResult, ModelFacts
from tests.helpers import results as helper
from tests.helpers.timing import growth

INPUTS = {"delta_kl": "a", "leakage": "b"}


def result(*, raw: float = 0.1, verdict: str = "pass", **fields: Any) -> GateResult:
    probes = (helper.probe(raw=raw), helper.probe("leakage", raw=0.2))
    defaults = {"probe_inputs": INPUTS, "shared_inputs": "s", "verdict": verdict, "probes": probes}
    return structs.replace(helper.result(), **(defaults | fields))


def of(*results: GateResult) -> History:
    return history(
        [Stored(label=f"r{i}", file=f"{i}.json", result=r) for i, r in enumerate(results)]
    )


def breaks(found: History) -> dict[str, list[int]]:
    """The indexes of the values that cannot be compared with the one before, by number."""
    courses = (found.composite, *found.probes)
    return {
        own.name: [i for i, value in enumerate(own.values) if not value.is_comparable]
        for own in courses
    }


def test_values_verdicts_and_turns_are_in_order() -> None:
    found = of(result(raw=0.1, verdict="fail"), result(raw=0.2, verdict="fail"), result(raw=0.3))
    assert [entry.is_turn for entry in found.results] == [False, False, True]
    assert [value.value for value in found.probes[0].values] == [0.1, 0.2, 0.3]
    assert breaks(found) == {"composite": [], "delta_kl": [], "leakage": []}


OTHER_BASE = ModelFacts(path="org/other", digest="ff" * 32)
CHANGES = {
    "nothing": ({}, [], []),
    "the settings of a probe": ({"probe_inputs": INPUTS | {"delta_kl": "z"}}, [1], [1]),
    "the settings of another probe": ({"probe_inputs": INPUTS | {"leakage": "z"}}, [1], []),
    "the data": ({"shared_inputs": "t"}, [1], [1]),
    "the base": ({"base": OTHER_BASE}, [1], [1]),
    "the seed": ({"seed": 7}, [1], [1]),
    "an older version": ({"probe_inputs": {}, "shared_inputs": ""}, [1], [1]),
    "the weights": ({"categories": {"adherence": Category(weight=0.9, score=0.5)}}, [1], []),
    "a waiver": (
        {"probes": (helper.probe(raw=0.1), helper.probe("leakage", "waived", score=None))},
        [1],
        [],
    ),
    "a probe is gone": (
        {"probe_inputs": {"delta_kl": "a"}, "probes": (helper.probe(raw=0.1),)},
        [1],
        [],
    ),
}


@pytest.mark.parametrize(("fields", "composite", "probe"), CHANGES.values(), ids=CHANGES)
def test_changed_inputs_break_the_course_and_are_named(
    fields: dict[str, Any], composite: list[int], probe: list[int]
) -> None:
    found = of(result(), result(**fields))
    assert breaks(found)["composite"] == composite
    assert breaks(found)["delta_kl"] == probe
    assert bool(found.results[1].differences) is bool(fields)


def test_a_probe_is_compared_across_a_result_without_it() -> None:
    without = result(probes=(helper.probe("leakage"),), probe_inputs={"leakage": "b"})
    found = of(result(), without, result())
    [course] = [own for own in found.probes if own.name == "delta_kl"]
    assert [value.verdict for value in course.values] == ["pass", "", "pass"]
    assert breaks(found)["delta_kl"] == []


def test_the_time_grows_with_the_number_of_probes_and_not_with_its_square() -> None:
    def compared(count: int) -> None:
        names = [f"p{i}" for i in range(count)]
        own = helper.probe()
        many = result(
            probes=tuple(structs.replace(own, name=name) for name in names),
            probe_inputs=dict.fromkeys(names, "a"),
        )
        assert len(of(many, many, many).probes) == count

    assert growth(compared, 500, 5000) < 40
