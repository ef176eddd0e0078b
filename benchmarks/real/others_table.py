"""The section of the report on other tools: the results of `others.py` against the truth."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from benchmarks.real.others import RESULTS, TOOLS, Tool
from benchmarks.real.paths import MANIFEST, read_json
from benchmarks.roc import area

HEAD = (
    "| tool | data sets | healthy pass | sick fail | no verdict | area under ROC curve "
    "| adapters judged | not applicable |"
)


class Judged(NamedTuple):
    """The result of a tool for one case that is not disputed."""

    expected: str
    """pass or fail."""
    outcome: str
    """pass, fail, none (no verdict) or not applicable."""
    score: float | None
    reason: str
    is_sealed: bool


def results(tool: Tool) -> list[Judged]:
    """The results of a tool, in the order of the manifest."""
    found = []
    for case in msgspec.json.decode(MANIFEST.read_bytes()):
        path = RESULTS / tool.name / f"{case['name']}.json"
        if path.exists() and case["expected"] != "disputed":
            found.append(judged(case, read_json(path)))
    return found


def judged(case: dict[str, Any], result: dict[str, Any]) -> Judged:
    """A result with the truth of its case."""
    own = (result["outcome"], result.get("score"), result.get("reason", ""))
    return Judged(case["expected"], *own, case["sealed"])


def scores(found: Sequence[Judged], expected: str) -> list[float]:
    """The scores of the healthy or of the sick adapters."""
    return [one.score for one in found if one.expected == expected and one.score is not None]


def share(found: Sequence[Judged], expected: str) -> str:
    """How many adapters of one kind have the right verdict."""
    kind = [one for one in found if one.expected == expected]
    return f"{sum(one.outcome == expected for one in kind)} of {len(kind)}"


def row(title: str, sets: str, found: Sequence[Judged]) -> str:
    """One row of the table."""
    applied = [one for one in found if one.outcome != "not applicable"]
    undecided = sum(one.outcome == "none" for one in applied)
    auc = f"{area(scores(applied, 'pass'), scores(applied, 'fail')):.3f}"
    cells = (title, sets, share(applied, "pass"), share(applied, "fail"), str(undecided), auc)
    return f"| {' | '.join(cells)} | {len(applied)} | {len(found) - len(applied)} |"


def section() -> Iterator[str]:
    """The lines of the section; none without results."""
    found = {tool.title: results(tool) for tool in TOOLS.values()}
    if not any(found.values()):
        return
    yield from ("\n## Other tools\n", HEAD, "| --- |" + " --- |" * 7)
    for title, every in found.items():
        for sets, is_sealed in (("open", False), ("sealed", True)):
            part = [one for one in every if one.is_sealed == is_sealed]
            if part:
                yield row(title, sets, part)
    yield "\nDisputed cases are left out. No verdict: INSUFFICIENT_EVIDENCE, or an error. The tools"
    yield "that generate text measure less than by default: see `benchmarks/real/others.py`."
    yield from reasons(found)


def reasons(found: dict[str, list[Judged]]) -> Iterator[str]:
    """Why a tool does not apply to some cases, one line per reason."""
    counts = Counter(
        (title, one.reason)
        for title, every in found.items()
        for one in every
        if one.outcome == "not applicable"
    )
    for (title, reason), count in counts.items():
        yield f"\n{title} does not apply to {count} of these cases: {reason}."
