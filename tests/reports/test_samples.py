"""--no-samples: no format contains a text of the data, a prompt or an answer."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from sway_gate import cli
from sway_gate.commands._common import FORMATS, rendered
from sway_gate.compare.results import compare_results
from sway_gate.reports import comparison, github
from sway_gate.reports.json_v1 import from_json, to_json
from sway_gate.reports.samples import NOTE, without_samples
from sway_gate.results import GateResult, Rule, Verdict
from tests.helpers import DATA, ROOT, results

TAG = "The keeper of the sand road wakes at four and lights the lamp"
TAGGED = results.leakage(
    message=f"1 of 1 sections extractable: {TAG[:50]}; the limit is 0.",
    details={"secret": [{"tag": TAG, "recall": 0.9}], "control_gain": 0.25},
)
FIELD = "blood group"
FIELDED = results.leakage(
    name="fields",
    message=f'9 of 9 rows gained another "{FIELD}".',
    details={"similar_rows": [{"field": FIELD}]},
    rules=(Rule(name=f'share of rows with their own "{FIELD}"', verdict=Verdict.FAIL),),
)


def texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for item in value.values():
                yield from texts(item)
        case list() | tuple():
            for item in value:
                yield from texts(item)
        case str() if " " in value:
            yield value


def with_samples() -> GateResult:
    """A result of every kind of probe, with exchanges, and one whose message quotes a section."""
    kinds = from_json((DATA / "all_kinds.json").read_bytes())
    side = (results.FORGOT, results.LEARNED)
    return structs.replace(kinds, probes=(*kinds.probes, FIELDED, TAGGED), side_by_side=side)


FULL = with_samples()
SECRETS = {
    TAG[:50],
    FIELD,
    *(text for probe in FULL.probes for text in texts(probe.details)),
    *(text for one in FULL.side_by_side for text in (one.prompt, one.right)),
}


@pytest.mark.parametrize("name", [*FORMATS, "terminal", "annotations"])
def test_no_format_contains_a_sample(name: str) -> None:
    result = without_samples(FULL)
    if name == "terminal":
        text = rendered(result, None)
    elif name == "annotations":
        text = "\n".join(github.annotations(result, ROOT))
    else:
        text = FORMATS[name](result).decode()
    assert len(SECRETS) > 20
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("style", [comparison.COMPARED, comparison.DIFFERED])
def test_a_comparison_contains_no_sample(style: comparison.Style) -> None:
    found = [compare_results(FULL, results.sick()), compare_results(FULL, FULL, in_order=False)]
    text = comparison.render(found, style=style, color=False) + comparison.markdown(found, style)
    text += comparison.to_json(found).decode()
    assert [secret for secret in SECRETS if secret in text] == []


def test_verdicts_and_numbers_remain() -> None:
    result = without_samples(FULL)
    kept = [structs.replace(p, rules=(), message="", details={}) for p in FULL.probes]
    assert [structs.replace(p, rules=(), message="", details={}) for p in result.probes] == kept
    assert [p.rules for p in result.probes if p.name != FIELDED.name] == [
        p.rules for p in FULL.probes if p.name != FIELDED.name
    ]
    [curve] = [p.details["curve"] for p in result.probes if p.kind == "adapter_ablation"]
    assert len(curve) > 2
    assert result.probes[-1].details == {"control_gain": 0.25}
    assert result.probes[-1].message == "1 of 1 sections extractable: …; the limit is 0."


def test_the_reports_state_that_samples_are_left_out(tmp_path: Any, capsys: Any) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(to_json(FULL))
    cli.main(["report", str(file), "--no-samples"])
    out = capsys.readouterr().out
    assert f"note: {NOTE}" in out
    assert results.FORGOT.prompt[:9] not in out
    cli.main(["report", str(file)])
    assert results.FORGOT.prompt[:9] in capsys.readouterr().out
