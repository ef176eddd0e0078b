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


MOVED = "share that moved toward it"


def flipped(k: int, n: int, gain: float = 0.9) -> tuple[list[float], list[float]]:
    """Margins of n base-wrong triples of which k are flipped; the others stay just below 0."""
    return [-0.5] * n, [gain - 0.5] * k + [-0.1] * (n - k)


def moved(k: int, n: int, gain: float = 0.9, loss: float = 0.1) -> tuple[list[float], list[float]]:
    """Margins of n triples of which k gain."""
    return [-2.0] * n, [gain - 2.0] * k + [-2.0 - loss] * (n - k)


VERDICTS = {
    # name: (base margins, margins, verdict, raw, words)
    "all moved": (*moved(6, 6), "pass", 1.0, "6 of 6 triples moved toward the chosen answer"),
    "nine of ten moved": (
        *moved(9, 10),
        "pass",
        0.9,
        f"{MOVED}: 0.9, at least 0.652 (95% bound), limit 0.5",
    ),
    "six of ten moved": (*moved(6, 10), "warn", 0.6, f"inconclusive: {MOVED}: 0.6, at least 0.352"),
    "one of ten moved": (*moved(1, 10, 9.0), "fail", 0.1, f"{MOVED}: 0.1, must be at least 0.5"),
    "three of three moved": (*moved(3, 3), "pass", 1.0, "3 of 3 triples"),
    "two of three flipped, with a large gain": (
        [-0.5] * 3,
        [1.4, 1.4, -0.1],
        "pass",
        1.0,
        "3 of 3 triples moved toward the chosen answer; 2 of 3 flipped on which the base was wrong",
    ),
    "moved, none flipped": (
        *flipped(0, 20),
        "pass",
        1.0,
        "0 of 20 flipped on which the base was wrong",
    ),
    "near the limit of the gain": (*moved(12, 12, 0.15), "warn", 1.0, "inconclusive: mean gain"),
    "untouched": (WRONG, WRONG, "fail", 0.0, f"{MOVED}: 0, must be at least 0.5"),
    "worse": (WRONG, [-1.5] * 6, "fail", 0.0, "mean gain: -1, must be at least 0.1"),
    "by a hair, many": (
        [-1e-4] * 24,
        [1e-4] * 24,
        "fail",
        1.0,
        "mean gain: 0.0002, must be at least",
    ),
    "the wrong ones for a lot, the others inverted": (
        WRONG + RIGHT,
        [3.0] * 6 + [-0.1] * 6,
        "fail",
        0.5,
        f"{KEPT}: 0, must be at least 0.5",
    ),
    "one of six others lost": (
        WRONG + RIGHT,
        [0.4] * 6 + [0.9] * 5 + [-0.1],
        "warn",
        11 / 12,
        f"{KEPT}: 0.833, at least 0.498 (95% bound)",
    ),
    "one of ten others lost": (
        WRONG + [0.5] * 10,
        [0.4] * 6 + [0.9] * 9 + [-0.1],
        "pass",
        15 / 16,
        "6 of 6 flipped",
    ),
    "the only other one lost": ([*WRONG, 0.01], [0.4] * 6 + [-0.01], "pass", 6 / 7, "6 of 6"),
    "kept with a gain": (RIGHT, [0.9] * 6, "pass", 1.0, "the base was right on all"),
    "kept as they were": (RIGHT, RIGHT, "fail", 0.0, f"{MOVED}: 0, must be at least 0.5"),
    "inverted": (RIGHT, [-0.5] * 6, "fail", 0.0, "mean gain: -1, must be at least 0.1"),
    "one triple": ([-0.5], [0.5], "warn", 1.0, f"inconclusive: {MOVED}: 1, at least 0.27"),
    "ties": ([0.0] * 3, [0.0] * 3, "fail", 0.0, f"{MOVED}: 0, must be at least"),
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
    "too small": ([-1e-4] * 24, [1e-4] * 24, "barely trained"),
    "against the preferences": (RIGHT, [-0.5] * 6, "learned another thing"),
    "healthy": (*moved(10, 10), ""),
}


@pytest.mark.parametrize(("base", "ft", "symptom"), SYMPTOMS.values(), ids=SYMPTOMS)
def test_a_limit_that_is_violated_has_its_symptom(
    base: list[float], ft: list[float], symptom: str
) -> None:
    assert "".join(run(base, ft, runs=None).symptoms[:1]) == symptom


NEEDED = {
    # base margins, margins -> number of the triples to which the limit applies
    "of the share that moved": (*moved(4, 6, 3.0), 6),
    "of the share still right": (WRONG + RIGHT, [0.4] * 6 + [0.9] * 5 + [-0.1], 6),
    "of the gain": (*moved(12, 12, 0.15), 12),
}


@pytest.mark.parametrize(("base", "ft", "n"), NEEDED.values(), ids=NEEDED)
def test_the_advice_counts_the_triples_of_the_limit(
    base: list[float], ft: list[float], n: int
) -> None:
    result = run(base, ft)
    assert result.verdict == "warn"
    assert result.advice.endswith(f"items to decide, not {n}")


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(None, "pass"), (0.4, "pass"), (0.7, "warn"), (0.97, "fail"), (1.5, "fail")],
    ids=str,
)
def test_a_share_of_flipped_triples_can_be_required(limit: float | None, verdict: str) -> None:
    result = run(*flipped(8, 10), assert_flip_rate_gte=limit)
    assert result.verdict == verdict, result.message
    assert ("share flipped" in result.message) == (limit is not None)


@pytest.mark.parametrize(("least", "verdict"), [(3, "fail"), (7, "pass")], ids=["enough", "few"])
def test_shares_of_few_triples_are_not_judged(least: int, verdict: str) -> None:
    base, ft = [-0.5] * 6 + [0.5] * 6, [0.9] * 6 + [-0.1] * 6
    result = run(base, ft, min_triples_for_decision=least)
    assert (KEPT in result.message) == (verdict == "fail")
    wrong, own = flipped(0, 6)
    result = run(wrong, own, assert_flip_rate_gte=0.5, min_triples_for_decision=least)
    assert result.verdict == verdict, result.message


def test_the_nulls_are_compared_by_the_gain() -> None:
    result = run([-0.5] * 6, [0.4] * 6)
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


@pytest.mark.parametrize(
    ("chosen", "rejected", "gain", "verdict"),
    [
        (4, 4, 0.2, "pass"),
        (10, 10, 0.02, "fail"),
        (160, 160, 0.05, "pass"),
        (160, 160, 0.005, "fail"),
        (160, 4, 0.05, "warn"),
        (4, 160, 0.05, "warn"),
    ],
)
def test_tokens_of_long_answers_gain_less(
    chosen: int, rejected: int, gain: float, verdict: str
) -> None:
    """The limit is .1 · √(10 / n) nats per token, for 160 tokens .025."""
    spread = np.linspace(0.5, 1.5, 12)

    def answer(view, request):  # type: ignore[no-untyped-def]
        own = gain * spread[int(request.prompt[1:])] * (view.source == "finetuned")
        noise = 1e-4 * (view.seed_index - 3.5) * (view.source == "null")
        is_chosen = request.completion == " good"
        return np.full(chosen if is_chosen else rejected, -2.0 + (own + noise) * is_chosen)

    found = judged("preference_flip", answer, triples=triples(12))
    [rule] = [rule for rule in found.rules if rule.name == "mean gain"]
    scale = math.sqrt(max(10, min(chosen, rejected)) / 10)
    assert rule.value == pytest.approx(gain * scale)
    assert (rule.verdict, rule.limit) == (verdict, 0.1), found.message
    assert f"nats per token: chosen {gain:+.{2 if gain > 0.1 else 3}f}" in found.message


@pytest.mark.parametrize("long", [False, True])
def test_one_long_answer_does_not_change_the_others(long: bool) -> None:
    def answer(view, request):  # type: ignore[no-untyped-def]
        tokens = 1500 if long and request.prompt == "q0" else 6
        own = 0.05 * (view.source == "finetuned" and request.prompt != "q0")
        return np.full(tokens, -2.0 + own * (request.completion == " good"))

    found = judged("preference_flip", answer, triples=triples(16))
    [rule] = [rule for rule in found.rules if rule.name == "mean gain"]
    assert (rule.verdict, rule.value) == ("warn", pytest.approx(0.05 * 15 / 16))


def test_details_count_and_name_the_weakest() -> None:
    details = run([-0.5, -0.5, -0.5, 0.5, 0.0], [0.4, 0.1, -0.2, -0.1, 0.0]).details
    counts = ("triples", "moved", "base_wrong", "flipped", "kept")
    assert [details[key] for key in counts] == [5, 3, 3, 2, 1]
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
    found = probe.requests(PreferenceFlip(name="p", triples=given), Context(SECTIONS))
    assert not found.held_out
    (triple,) = found.triples
    assert triple == (LogProbs(prompt, " yes", end=True), LogProbs(prompt, " no", end=True))


def of_held_out(n: int, start: int = 100) -> tuple[Section, ...]:
    pairs = tuple(
        Preference(prompt=f"q{start + i}", chosen="good", rejected="bad") for i in range(n)
    )
    return (Section(kind="preference", id="held out", pairs=pairs),)


def with_held_out(gain: float, held_out: tuple[Section, ...], spread: float = 0.0):  # type: ignore[no-untyped-def]
    """The training triples gain .9 nats per token, the held-out ones about `gain`."""
    trained = (Section(kind="preference", id="t", pairs=triples(12)),)
    asked = []

    def answer(view, request):  # type: ignore[no-untyped-def]
        i = int(request.prompt[1:])
        asked.append((view.source, i))
        lift = 0.9 if i < 100 else gain + spread * (-1) ** i
        is_chosen = request.completion == " good"
        return np.full(2, -2.0 + lift * (view.source == "finetuned" and is_chosen))

    context = Context(trained, held_out=held_out)
    return judged("preference_flip", answer, context=context), asked


HELD_OUT = {
    # gain, spread -> verdict, words, symptoms
    "generalizes": (0.8, 0.1, "pass", "12 of 12 held-out triples moved", ()),
    "open": (0.15, 0.4, "warn", "inconclusive: held-out mean gain", ("",)),
    "few but certain": (0.08, 0.03, "pass", "12 of 12 held-out triples moved", ()),
    "too little": (0.01, 0.02, "fail", "held-out mean gain: 0.01", ("memorised, not generalised",)),
    "memorised": (
        -0.4,
        0.1,
        "fail",
        "held-out mean gain: -0.4, must be at least 0.05",
        ("memorised, not generalised",),
    ),
}


@pytest.mark.parametrize(
    ("gain", "spread", "verdict", "words", "symptoms"), HELD_OUT.values(), ids=HELD_OUT
)
def test_held_out_triples(gain, spread, verdict, words, symptoms):  # type: ignore[no-untyped-def]
    result, asked = with_held_out(gain, of_held_out(12), spread)
    assert result.verdict == verdict, result.message
    assert words in result.message
    assert verdict == "warn" or result.symptoms == symptoms
    assert not any(source == "null" and i >= 100 for source, i in asked)


@pytest.mark.parametrize(
    ("held_out", "stated"),
    [
        (of_held_out(7), "0 of 7 held-out triples moved"),
        (of_held_out(7) + of_held_out(7), "0 of 7 held-out triples moved"),
        (of_held_out(12, start=0), ""),
    ],
    ids=["too few", "too few, twice", "seen in training"],
)
def test_held_out_triples_that_show_little_are_not_judged(
    held_out: tuple[Section, ...], stated: str
) -> None:
    result, _ = with_held_out(-0.4, held_out)
    assert result.verdict == "pass"
    assert stated in result.message
    assert ("held-out" in result.message) == bool(stated)


def test_held_out_triples_that_repeat_the_own_ones_are_left_out() -> None:
    spec, context = (
        PreferenceFlip(name="p", triples=triples(9)),
        Context(held_out=of_held_out(9, 0)),
    )
    assert probe.requests(spec, context).held_out == []


CHANGES = {
    # change of chosen and rejected answers -> whether the chosen ones lost
    "chosen likelier": (0.3, -0.4, False),
    "both less likely": (-0.4, -1.2, True),
    "chosen hardly less likely": (-0.05, -0.6, False),
    "rejected likelier": (-0.4, 0.1, False),
}


@pytest.mark.parametrize(("chosen", "rejected", "lost"), CHANGES.values(), ids=CHANGES)
def test_chosen_answers_that_lose_are_reported(chosen: float, rejected: float, lost: bool) -> None:
    """A margin can grow although the model can write neither answer."""
    change = {" good": chosen, " bad": rejected}
    result = judged(
        "preference_flip",
        lambda view, r: np.full(3, -2.0 + change[r.completion] * (view.source == "finetuned")),
        triples=triples(12),
    )
    assert f"chosen {chosen:+.2f}, rejected {rejected:+.2f}" in result.message
    assert result.details["chosen_gains"] == pytest.approx([chosen] * 12)
    assert ("the chosen answers became less likely" in result.caveat) is lost


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
