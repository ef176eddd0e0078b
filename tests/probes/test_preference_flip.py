import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from sway_gate.measurements import LogProbs
from sway_gate.probes import preference_flip as probe
from sway_gate.probes.base import Context, Skip
from sway_gate.spec.probes import PreferenceFlip
from sway_gate.spec.schema import Preference, Section
from tests.helpers.judged import judged


def triples(n: int) -> tuple[Preference, ...]:
    return tuple(Preference(prompt=f"q{i}", chosen="good", rejected="bad") for i in range(n))


def run(base: Sequence[float], ft: Sequence[float], *, noise: float = 0.01, **fields: object):  # type: ignore[no-untyped-def]
    """Margins in nats per token for each triple; the nulls' stay around the base's."""

    def answer(view, request):  # type: ignore[no-untyped-def]
        i = int(request.prompt[1:])
        margin = ft[i] if view.source == "finetuned" else base[i]
        margin += noise * (view.seed_index - 3.5) * (view.source == "null")
        return np.array([-3.0, -1.0]) + (margin if request.completion == " good" else 0.0)

    fields.setdefault("triples", triples(len(base)))
    return judged("preference_flip", answer, **fields)


WRONG, RIGHT = [-0.5] * 6, [0.5] * 6
KEPT = "share still right of those on which the base was right"


def flipped(k: int, n: int, gain: float = 0.9) -> tuple[list[float], list[float]]:
    """Margins of n base-wrong triples of which k are flipped; the others stay just below 0."""
    return [-0.5] * n, [gain - 0.5] * k + [-0.1] * (n - k)


VERDICTS = {
    # name: (base margins, margins, verdict, raw, words)
    "all flipped": (*flipped(6, 6), "pass", 1.0, "6 of 6 base-wrong triples flipped"),
    "nine of ten flipped": (*flipped(9, 10), "pass", 0.9, "share flipped ≥ 0.652"),
    "one of ten flipped": (
        *flipped(1, 10),
        "warn",
        0.1,
        "share flipped: 0.1, outside the limit 0.25, but its interval",
    ),
    "five of six flipped": (*flipped(5, 6), "pass", 5 / 6, "share flipped ≥ 0.498 (95% bound)"),
    "two of six flipped": (*flipped(2, 6), "warn", 2 / 6, "share flipped ≥ 0.117"),
    "three of three flipped": (*flipped(3, 3), "pass", 1.0, "share flipped ≥ 0.526"),
    "two of three flipped, with a large gain": (
        [-0.5] * 3,
        [1.4, 1.4, -0.1],
        "warn",
        2 / 3,
        "2 of 3 base-wrong triples flipped; mean margin gain +1.400",
    ),
    "none of three flipped": (
        *flipped(0, 3),
        "warn",
        0.0,
        "share flipped: 0, outside the limit 0.25, but",
    ),
    "none of twenty flipped": (*flipped(0, 20), "fail", 0.0, "share flipped: 0, outside"),
    "brought to a tie": (WRONG, [0.0] * 6, "warn", 0.0, "share flipped: 0, outside"),
    "untouched": (WRONG, WRONG, "fail", 0.0, "mean gain: 0, outside the limit 0.02"),
    "worse": (WRONG, [-1.5] * 6, "fail", 0.0, "mean gain: -1, outside the limit 0.02"),
    "flipped by a hair": ([-1e-4] * 6, [1e-4] * 6, "fail", 1.0, "mean gain: 0.0002, outside"),
    "flipped, and the others inverted": (
        WRONG + RIGHT,
        [0.1] * 6 + [-2.0] * 6,
        "fail",
        1.0,
        f"{KEPT}: 0, outside the limit 0.5",
    ),
    "flipped for a lot, the others inverted": (
        WRONG + RIGHT,
        [3.0] * 6 + [-0.1] * 6,
        "fail",
        1.0,
        f"{KEPT}: 0, outside the limit 0.5",
    ),
    "flipped, one of six others lost": (
        WRONG + RIGHT,
        [0.4] * 6 + [0.4] * 5 + [-0.1],
        "warn",
        1.0,
        f"{KEPT} ≥ 0.498 (95% bound)",
    ),
    "flipped, one of ten others lost": (
        WRONG + [0.5] * 10,
        [0.4] * 6 + [0.9] * 9 + [-0.1],
        "pass",
        1.0,
        "6 of 6",
    ),
    "flipped, the only other one lost": (
        [*WRONG, 0.01],
        [0.4] * 6 + [-0.01],
        "pass",
        1.0,
        "6 of 6",
    ),
    "kept with a gain": (
        RIGHT,
        [0.9] * 6,
        "pass",
        0.4,
        "because the base is wrong on 0, fewer than 3",
    ),
    "kept as they were": (RIGHT, RIGHT, "fail", 0.0, "mean gain: 0, outside the limit 0.02"),
    "inverted": (RIGHT, [-0.5] * 6, "fail", -1.0, "mean gain: -1, outside the limit 0.02"),
    "a gain of one, the others inverted": (
        [0.5] * 10,
        [-0.1] * 9 + [15.9],
        "fail",
        1.0,
        f"{KEPT}: 0.1, outside",
    ),
    "two wrong, both better": (
        [-0.5, -0.2, 0.1],
        [0.5, 0.4, 0.9],
        "pass",
        2.4 / 3,
        "wrong on 2, fewer than 3",
    ),
    "two wrong, better by very different gains": (
        [-0.5, -0.2, 0.1],
        [2.2, 0.1, 0.5],
        "warn",
        3.4 / 3,
        "inconclusive: mean gain ≥",
    ),
    "one triple": ([-0.5], [0.5], "warn", 1.0, "one item gives no bound of the mean gain"),
    "ties": ([0.0] * 3, [0.0] * 3, "fail", 0.0, "mean gain: 0, outside the limit 0.02"),
}


@pytest.mark.parametrize("runs", [8, None], ids=["nulls", "no nulls"])
@pytest.mark.parametrize(("base", "ft", "verdict", "raw", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(
    base: list[float], ft: list[float], verdict: str, raw: float, words: str, runs: int | None
) -> None:
    result = run(base, ft, runs=runs)
    assert result.verdict == verdict, result.message
    assert words in result.message
    assert result.raw == pytest.approx(raw)


SYMPTOMS = {
    # name: (base margins, margins, symptom that comes first)
    "too small": ([-1e-4] * 6, [1e-4] * 6, "barely trained"),
    "not toward the preferences": (*flipped(0, 10, 0.4), "learned another thing"),
    "against the preferences": (RIGHT, [-0.5] * 6, "learned another thing"),
    "healthy": (*flipped(10, 10), ""),
}


@pytest.mark.parametrize(("base", "ft", "symptom"), SYMPTOMS.values(), ids=SYMPTOMS)
def test_a_limit_that_is_violated_has_its_symptom(
    base: list[float], ft: list[float], symptom: str
) -> None:
    assert "".join(run(base, ft, runs=None).symptoms[:1]) == symptom


NEEDED = {
    # base margins, margins -> number of the triples to which the limit applies
    "of the share flipped": (*flipped(2, 6), 6),
    "of the share still right": (WRONG + RIGHT, [0.4] * 11 + [-0.1], 6),
    "of the gain": (WRONG + RIGHT, [4.0] + [0.1] * 5 + [0.1] * 6, 12),
}


@pytest.mark.parametrize(("base", "ft", "n"), NEEDED.values(), ids=NEEDED)
def test_the_advice_counts_the_triples_of_the_limit(
    base: list[float], ft: list[float], n: int
) -> None:
    result = run(base, ft)
    assert result.verdict == "warn"
    assert result.advice.endswith(f"items to decide, not {n}")


@pytest.mark.parametrize(
    ("limit", "verdict"), [(0.4, "pass"), (0.7, "warn"), (0.97, "fail")], ids=str
)
def test_the_limit_of_the_share_is_the_specs(limit: float, verdict: str) -> None:
    result = run(*flipped(8, 10), assert_flip_rate_gte=limit)
    assert (result.verdict, result.margin) == (verdict, limit)


JUDGED = {
    # base-wrong triples, min_triples_for_decision -> units, what was judged
    "enough": (3, 3, "share", "flip rate"),
    "one too few": (2, 3, "nats/token", "mean gain"),
    "none": (0, 1, "nats/token", "mean gain"),
    "one is enough": (1, 1, "share", "flip rate"),
}


@pytest.mark.parametrize(("wrong", "least", "units", "what"), JUDGED.values(), ids=JUDGED)
def test_the_share_needs_enough_triples(wrong: int, least: int, units: str, what: str) -> None:
    base = [-0.5] * wrong + [0.5] * (6 - wrong)
    result = run(base, [0.8] * 6, min_triples_for_decision=least)
    assert (result.units, result.details["judged"]) == (units, what)


@pytest.mark.parametrize("least", [3, 9], ids=["by share", "by gain"])
def test_the_nulls_are_compared_by_the_gain_in_both_cases(least: int) -> None:
    result = run([-0.5] * 6, [0.4] * 6, min_triples_for_decision=least)
    gains = 0.01 * (np.arange(8) - 3.5)
    t = (0.9 - gains.mean()) / (gains.std(ddof=1) * math.sqrt(1 + 1 / 8))
    assert t > 30
    assert result.z == pytest.approx(run([0.0] * 6, [0.9] * 6).z)


def test_a_large_gain_on_few_triples_is_not_significant() -> None:
    assert run(WRONG, [0.1] * 6, noise=1.0).verdict == "fail"


def test_margins_do_not_depend_on_length() -> None:
    lengths = {" good": 40, " bad": 2}
    lift = {" good": 0.3, " bad": -0.1}
    result = judged(
        "preference_flip",
        lambda view, r: np.full(
            lengths[r.completion], -2.0 + lift[r.completion] * (view.source == "finetuned")
        ),
        triples=triples(3),
    )
    assert result.details["mean_gain_nats"] == pytest.approx(0.4)


def test_details_count_and_name_the_weakest() -> None:
    details = run([-0.5, -0.5, -0.5, 0.5, 0.0], [0.4, 0.1, -0.2, -0.1, 0.0]).details
    assert [details[key] for key in ("triples", "base_wrong", "flipped", "kept")] == [5, 3, 2, 1]
    assert details["weakest"][0] == {
        "prompt": "q2",
        "base_margin": pytest.approx(-0.5),
        "margin": pytest.approx(-0.2),
    }


def test_details_are_bounded() -> None:
    long = tuple(
        Preference(prompt=f"q{i:04}" + " " * 9000, chosen="good", rejected="bad") for i in range(50)
    )
    details = run([0.1] * 50, [0.5] * 50, triples=long).details
    assert len(details["weakest"]) == 20
    assert len(json.dumps(details, allow_nan=False)) < 10_000


SECTIONS = (
    Section(kind="prose", id="a", content="text"),
    Section(
        kind="preference",
        id="b",
        pairs=(Preference(prompt="from a section", chosen="yes", rejected="no"),),
    ),
)
OWN = (Preference(prompt="own", chosen="yes", rejected="no"),)
SOURCES = {"own": (OWN, "own"), "of the sections": ((), "from a section")}


@pytest.mark.parametrize(("given", "prompt"), SOURCES.values(), ids=SOURCES)
def test_own_triples_take_precedence_over_the_sections(
    given: tuple[Preference, ...], prompt: str
) -> None:
    (triple,) = probe.requests(PreferenceFlip(name="p", triples=given), Context(SECTIONS))
    assert triple == (LogProbs(prompt, " yes", end=True), LogProbs(prompt, " no", end=True))


def test_without_triples_it_is_skipped() -> None:
    with pytest.raises(Skip, match="no preference triples"):
        probe.requests(PreferenceFlip(name="p"), Context(SECTIONS[:1]))


@pytest.mark.parametrize("completion", [" good", " bad"])
@pytest.mark.parametrize(
    ("source", "verdict"), [("base", "error"), ("finetuned", "fail"), ("null", "error")]
)
def test_impossible_answers_are_never_green(source: str, verdict: str, completion: str) -> None:
    result = judged(
        "preference_flip",
        lambda view, r: -math.inf if (view.source, r.completion) == (source, completion) else -1.0,
        triples=triples(4),
    )
    assert result.verdict == verdict, result.message
    assert "no finite likelihood" in result.message


def test_nulls_among_nulls_rarely_reach_three_sigma() -> None:
    """0.135% of 400 is half a run."""
    rng = np.random.default_rng(0)
    zs = [
        judged("preference_flip", lambda *_: -2.0 + rng.normal(), triples=triples(3)).z
        for _ in range(400)
    ]
    assert sum(z >= 3 for z in zs) <= 3
    assert np.mean(zs) == pytest.approx(0, abs=0.2)
