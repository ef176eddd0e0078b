import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from sway_gate.measurements import Divergence, LogProbs
from sway_gate.probes import adapter_ablation as probe
from sway_gate.probes._curve import QUARTERS, shape
from sway_gate.probes.base import Context
from sway_gate.spec.probes import AdapterAblation
from sway_gate.spec.schema import Pair, Preference, Section
from sway_gate.training_data import packaged
from tests.helpers.judged import judged, spread
from tests.helpers.property import given, st

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def run(
    curve: Callable[[float], float],
    loss: Callable[[float], float] = lambda x: 3.0,
    extra: Mapping[str, float] = {},
    **fields: object,
):  # type: ignore[no-untyped-def]
    """`curve`: distance of the fine-tuned view at λ; `loss`: its loss on all text; `extra`: what
    the answers to some prompts lose more at λ = 1.

    The nulls' distance is a fortieth of a straight line.
    """

    def answer(view, request):  # type: ignore[no-untyped-def]
        scale = view.scale if view.source == "finetuned" else 0.0
        if isinstance(request, LogProbs):
            return [-loss(scale) - scale * extra.get(str(request.prompt), 0.0)] * 3
        distance = (
            curve(scale)
            if view.source == "finetuned"
            else 0.01 * (1 + view.seed_index / 20) * view.scale
        )
        power = 1 if request.divergence == "log_ratio" else 2
        return distance**power * (view.source != "base")

    return judged("adapter_ablation", answer, prompts=("a",), **fields)


CASES = {
    "linear": (lambda x: 0.4 * x, "pass", ""),
    "gently concave": (lambda x: 0.4 * x**0.7, "pass", ""),
    "gently convex": (lambda x: 0.4 * x**1.4, "pass", ""),
    "convex": (lambda x: 0.4 * x**2, "pass", ""),
    "bending as √JS must near its ceiling": (lambda x: 0.8 * np.tanh(0.9 * x), "pass", ""),
    "flat past 1": (lambda x: 0.4 * min(x, 1.0), "pass", ""),
    "a little uneven": (lambda x: 0.4 * x + 0.015 * np.sin(20 * x), "pass", ""),
    "a step at .5": (lambda x: 0.4 * (x >= 0.5), "fail", "jumps"),
    "a late step": (lambda x: 0.4 * (x >= 0.9), "fail", "jumps"),
    "a plateau from .25": (lambda x: 0.4 * (x >= 0.25), "fail", "jumps"),
    "a plateau from .05": (lambda x: 0.4 * (x >= 0.05), "fail", "jumps"),
    "a soft plateau": (lambda x: 0.4 * np.tanh(6 * x), "fail", ""),
    "a rise then a crash": (lambda x: 0.4 * x if x <= 0.75 else 0.05, "fail", "falls"),
    "a crash at 1": (lambda x: 0.4 * x if x < 1 else 0.0, "fail", "falls"),
    "all zero": (lambda x: 0.0, "fail", "must be at least 0.05"),
    "nothing before 1": (lambda x: 0.4 * (x > 1), "fail", "must be at least 0.05"),
}
PAST_ONE = {
    "a crash past 1": (lambda x: 0.4 * x if x <= 1 else 0.3, "fail", "past scale 1"),
}


@pytest.mark.parametrize(
    ("curve", "verdict", "words"), (CASES | PAST_ONE).values(), ids=CASES | PAST_ONE
)
def test_shapes(curve: Callable[[float], float], verdict: str, words: str) -> None:
    result = run(curve)
    assert result.verdict == verdict, result.message
    assert words in result.message


def test_the_curve_is_reported_from_zero() -> None:
    details = run(lambda x: 0.4 * x).details
    assert details["lambdas"] == list(GRID)
    np.testing.assert_allclose(details["curve"], [0.4 * x for x in GRID])
    assert details["linearity"] == pytest.approx(1.0)
    assert details["saturation"] == pytest.approx(0.9)
    assert details["overshoot"] == pytest.approx(1.25)


GRIDS = {
    "three points": (0.0, 0.5, 1.0),
    "uneven": (0.0, 0.1, 1.0, 2.0),
    "unsorted, with doubles": (1.0, 0.0, 0.75, 0.25, 0.5, 1.0, 0.25),
    "without 0": (0.3, 0.6, 1.0),
    "without 1": (0.0, 0.4, 0.9),
    "small scales alone": (0.0, 0.01, 0.02),
    "above 1 alone": (1.1, 1.2, 1.4),
    "barely above 1": (0.0, 0.5, 1.01),
    "crowded at the end": (0.97, 0.98, 0.99, 1.0),
    "fine": tuple(i / 40 for i in range(51)),
    "finer than can be told apart": (0.5, 0.5 + 1e-15, 1.0, 1.0 + 1e-15),
}


@pytest.mark.parametrize(("curve", "verdict", "words"), CASES.values(), ids=CASES)
def test_shapes_however_they_are_sampled(
    curve: Callable[[float], float], verdict: str, words: str
) -> None:
    results = {name: run(curve, lambdas=grid) for name, grid in GRIDS.items()}
    others = {name: r.message for name, r in results.items() if r.verdict != verdict}
    assert not others, others
    json.dumps([result.details for result in results.values()], allow_nan=False)


@pytest.mark.parametrize("last", [1.01, 1.1, 1.25, 2.0])
@pytest.mark.parametrize(("curve", "verdict", "words"), PAST_ONE.values(), ids=PAST_ONE)
def test_overshoot_is_measured_from_any_scale_above_1(
    curve: Callable[[float], float], verdict: str, words: str, last: float
) -> None:
    result = run(curve, lambdas=(0.0, 0.5, last))
    assert result.verdict == verdict
    assert words in result.message


def test_without_a_scale_above_1_there_is_no_overshoot() -> None:
    result = run(lambda x: 0.4 * min(x, 1.0), lambdas=(0.0, 0.5, 1.0))
    assert (result.verdict, result.details["overshoot"]) == ("pass", None)


def test_the_quarters_are_always_measured() -> None:
    assert run(lambda x: 0.4 * x, lambdas=(0.0, 0.1, 2.0)).details["lambdas"] == [
        0,
        0.1,
        0.25,
        0.5,
        0.75,
        1,
        2,
    ]


HEIGHTS = st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda y: y[3] > 1e-3)


@given(HEIGHTS, st.lists(st.floats(0, 1.25), max_size=20), st.floats(0.01, 100))
def test_the_shape_depends_neither_on_units_nor_on_further_samples(
    heights: Sequence[float], more: Sequence[float], unit: float
) -> None:
    x, y = np.array([0.0, *QUARTERS, 1.25]), np.array([0.0, *heights])
    further = np.unique([*x, *more])
    assert shape(further, unit * np.interp(further, x, y)) == pytest.approx(
        shape(x, y), rel=1e-6, abs=1e-9
    )


@given(st.dictionaries(st.floats(0.01, 0.99), st.floats(0, 1), max_size=6), st.floats(0.01, 1))
def test_the_largest_step_is_searched_in_every_window(
    points: dict[float, float], at_one: float
) -> None:
    curve = {0.0: 0.0, **points, 1.0: at_one}
    x = np.array(sorted(curve))
    y = np.array([curve[key] for key in x])
    starts = np.linspace(0, 0.75, 2001)
    rises = np.interp(starts + 0.25, x, y) - np.interp(starts, x, y)
    found = shape(x, y).largest_step * 0.25 * y.max()  # type: ignore[operator]
    assert found >= rises.max() - 1e-9
    assert found <= rises.max() + 2 * np.max(np.abs(np.diff(y) / np.diff(x))) * 0.75 / 2000


KNOWN = {
    # curve at 0, the quarters, 1.25 -> linearity, largest step and fall, saturation, overshoot
    "line": ([0, 0.1, 0.2, 0.3, 0.4, 0.5], (1.0, 1.0, 0.0, 0.9, 1.25)),
    "step": ([0, 0, 0, 0, 0.4, 0.4], (0.5, 4.0, 0.0, 0.975, 1.0)),
    "plateau": ([0, 0.4, 0.4, 0.4, 0.4, 0.4], (0.5, 4.0, 0.0, 0.225, 1.0)),
    "fall": ([0, 0.2, 0.4, 0.3, 0.2, 0.1], (25 / 88, 2.0, 0.5, 0.225, 0.5)),
}


@pytest.mark.parametrize(("y", "measures"), KNOWN.values(), ids=KNOWN)
def test_measures_by_hand(y: list[float], measures: tuple[float, ...]) -> None:
    assert tuple(shape(np.array(GRID), np.array(y))) == pytest.approx(measures)


def test_a_healthy_shape_at_null_size_fails() -> None:
    result = run(lambda x: 0.0104 * x)
    assert result.verdict == "fail"
    assert "indistinguishable" in result.message


# Losses of adapters on the demo's base, as measured: λ is read between these points.
HEALTHY = [4.09, 3.30, 2.59, 2.08, 1.78, 1.63]
AMPLIFIED = [4.09, 1.78, 1.55, 2.09, 3.18, 4.54]
FLAT_BEST = [4.09, 3.00, 2.00, 1.96, 2.00, 2.20]
HARMFUL = [2.0, 2.2, 2.4, 2.6, 2.8, 3.0]
TEXT = {
    "served better and better": (HEALTHY, "pass", "lowest loss on its text at scale 1.25"),
    "too much of it": (
        AMPLIFIED,
        "fail",
        "loss on its text at scale 1 minus the loss at scale 0.5: 1.63, must be below 0.05",
    ),
    "best a little before 1": (FLAT_BEST, "warn", "lowest loss on its text at scale 0.75"),
    "a little too much of it": (
        [4.0, 3.0, 2.0, 2.0, 2.07, 2.2],
        "warn",
        "at scale 0.5: 0.07, must be below 0.05, but the 95% interval reaches inside",
    ),
    "best past .75": ([4.0, 3.0, 2.6, 2.3, 2.0, 2.2], "pass", "at scale 1; "),
    "worse than the base": (
        HARMFUL,
        "fail",
        "loss on its text at scale 1 minus the loss at scale 0: 0.8, must be below 0.05",
    ),
    "indifferent, in one text": ([3.0] * 6, "warn", "lowest loss on its text at scale 0"),
}
SECTIONS = (Section(kind="prose", id="a", content="some text"),)


@pytest.mark.parametrize(
    "where", [{"held_out": ("text",)}, {"context": Context(SECTIONS)}], ids=["held out", "sections"]
)
@pytest.mark.parametrize(("losses", "verdict", "words"), TEXT.values(), ids=TEXT)
def test_the_lowest_loss_on_the_target_must_be_at_full_scale(
    losses: list[float], verdict: str, words: str, where: dict[str, object]
) -> None:
    result = run(lambda x: 0.4 * x, lambda x: float(np.interp(x, GRID, losses)), **where)
    assert result.verdict == verdict, result.message
    assert words in result.message


@pytest.mark.parametrize(
    ("losses", "verdict"), [(HEALTHY, "pass"), (None, "fail"), (FLAT_BEST, "fail")]
)
def test_strong_learning_may_bend_the_curve(losses: list[float] | None, verdict: str) -> None:
    """The loss on the target text falls up to the full scale."""
    target = {"held_out": ("text",)} if losses else {}
    result = run(
        lambda x: float(np.interp(x, GRID, [0.0, 0.7, 0.88, 0.96, 1.0, 1.02])),
        lambda x: float(np.interp(x, GRID, losses or HEALTHY)),
        **target,
    )
    assert result.details["linearity"] < 0.85
    assert result.verdict == verdict, result.message
    assert ("the curve is not smooth" in result.message) == (verdict == "fail")


@pytest.mark.parametrize(("excess", "verdict"), [(0.0, "pass"), (0.05, "warn"), (0.2, "fail")])
def test_several_texts_decide_about_overtraining(excess: float, verdict: str) -> None:
    result = run(
        lambda x: 0.4 * x,
        lambda x: 3.0 + excess * max(0.0, 4 * (x - 0.75)),
        held_out=tuple(f"text {i}" for i in range(9)),
    )
    assert result.verdict == verdict, result.message
    assert ("irregular" in result.symptoms) == (verdict == "fail")


LABELS = tuple(
    Section(kind="instruction", id=f"{i:02}", pairs=(Pair(prompt=f"incident {i}", gold="P1"),))
    for i in range(48)
)
OF_LABELS = {
    # losses at λ = 0 to 1.25 -> verdict, symptoms
    "learned before full scale": ([4.0, 1.0, 0.1, 0.01, 0.01, 0.01], "pass", ()),
    "learned": ([4.0, 3.0, 2.0, 1.0, 0.1, 0.1], "pass", ()),
    "overtrained": ([4.0, 1.0, 0.1, 0.1, 0.4, 0.9], "fail", ("irregular",)),
    "swapped": ([1.0, 1.5, 2.0, 3.0, 4.0, 5.0], "fail", ("learned another thing",)),
    "the form of other labels": ([4.0, 1.5, 2.0, 3.0, 4.0, 5.0], "fail", ("irregular",)),
}


@pytest.mark.parametrize(("losses", "verdict", "symptoms"), OF_LABELS.values(), ids=OF_LABELS)
def test_labels(losses: list[float], verdict: str, symptoms: tuple[str, ...]) -> None:
    result = run(
        lambda x: 0.4 * x,
        lambda x: float(np.interp(x, GRID, losses)),
        {f"incident {i}": extra for i, extra in enumerate(spread(0.0, 0.1, len(LABELS)))},
        context=Context(LABELS),
    )
    assert (result.verdict, result.symptoms) == (verdict, symptoms), result.message


RESPONSES = {0.5: "pass", 0.1: "warn", 0.03: "warn", 0.01: "fail"}


@pytest.mark.parametrize(("height", "verdict"), RESPONSES.items())
def test_the_response_is_compared_with_its_limit_over_prompts(height: float, verdict: str) -> None:
    result = run(lambda x: height * x, runs=None)
    assert result.verdict == verdict, result.message
    assert ("barely trained" in result.symptoms) == (verdict == "fail")


def test_the_score_is_point_6_where_the_bound_of_the_response_is_at_the_limit() -> None:
    low, high = 0.05, 0.5
    for _ in range(40):
        middle = (low + high) / 2
        is_inside = run(lambda x, m=middle: m * x, runs=None).verdict == "pass"
        low, high = (low, middle) if is_inside else (middle, high)
    found = run(lambda x: high * x, runs=None)
    assert (found.score, found.bound) == (pytest.approx(0.6), pytest.approx(0.05, rel=1e-3))


def test_a_response_that_is_largest_before_1_is_measured_there() -> None:
    details = run(lambda x: 0.4 * x if x <= 0.75 else 0.05).details
    assert (details["highest"], details["distances"]) == (0.75, [pytest.approx(0.3)])


def test_losses_are_reported_with_the_losses_on_control_prose() -> None:
    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, Divergence):
            return (0.4 * view.scale) ** 2
        scale = 0.0 if view.source == "base" else view.scale
        return {"long": [-4 + scale] * 9, "own": [-2 + scale], "control": [-3 - scale]}[
            request.completion
        ]

    result = judged(
        "adapter_ablation",
        answer,
        prompts=("a",),
        held_out=("long", "own"),
        context=Context(SECTIONS, ("control",)),
    )
    target = result.details["target"]
    assert (target["source"], target["best"], target["lambdas"]) == ("held_out", 1.25, list(GRID))
    np.testing.assert_allclose(target["loss"], [3 - x for x in GRID])
    np.testing.assert_allclose(target["control_loss"], [3 + x for x in GRID])
    assert target["best_below"] == 0.75
    np.testing.assert_allclose(target["excess_by_text"], [-0.25, -0.25])
    json.dumps(result.details, allow_nan=False)


def texts(context: Context = Context(), **fields: object) -> list[LogProbs]:  # noqa: B008
    spec = AdapterAblation(name="a", prompts=("p",), **fields)  # type: ignore[arg-type]
    needs = probe.needs(spec, probe.requests(spec, context))
    return [need.request for need in needs if isinstance(need.request, LogProbs)]


QUESTIONS = Section(
    kind="instruction", id="q", pairs=tuple(Pair(prompt=f"q{i}?", gold="yes") for i in range(9))
)
PREFERENCES = Section(
    kind="preference", id="p", pairs=(Preference(prompt="q", chosen="a", rejected="b"),)
)
MINE = Context((*SECTIONS, QUESTIONS, PREFERENCES), ("control",))
CHOSEN = {
    "nothing at hand": (Context(), {}, []),
    "preferences alone": (Context((PREFERENCES,)), {}, []),
    "prose and answers": (
        MINE,
        {},
        [
            LogProbs("", "some text"),
            *(LogProbs(f"q{i}?", " yes", end=True) for i in range(6)),
            LogProbs("", "control"),
        ],
    ),
    "held out": (
        MINE,
        {"held_out": ("unseen",)},
        [LogProbs("", "unseen"), LogProbs("", "control")],
    ),
    "held out, but blank": (
        Context(SECTIONS, (" ",)),
        {"held_out": (" \n",)},
        [LogProbs("", "some text")],
    ),
}


@pytest.mark.parametrize(("context", "fields", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_the_target_text(
    context: Context, fields: dict[str, object], expected: list[LogProbs]
) -> None:
    prose = [LogProbs("", piece) for piece in packaged.chunks(packaged.prose(), 600, 2)]
    blank_control = not "".join(context.control).strip() and bool(expected)
    assert texts(context, **fields) == expected + prose * blank_control


@pytest.mark.parametrize(("chars", "expected"), [(2, 24), (145, 24), (300, 12), (590, 6)])
def test_as_many_short_sections_are_scored_as_6_long_ones_have_text(
    chars: int, expected: int
) -> None:
    sections = tuple(
        Section(kind="prose", id=f"{i:02}", content=f"{i:02}".ljust(chars, "x")) for i in range(40)
    )
    assert len(texts(Context(sections, ("control",)))) == expected + 1


def test_many_long_texts_are_cut() -> None:
    sections = tuple(
        Section(kind="prose", id=str(i), content=f"{i} " + "x" * 5000) for i in range(20)
    )
    own = [r.completion for r in texts(Context(sections, ("control",)))][:-1]
    assert [len(text) for text in own] == [600] * 6
    assert own == [r.completion for r in texts(Context(sections[::-1], ("control",)))][:-1]
    held_out = texts(Context(), held_out=tuple("word " * 5000 for _ in range(50)))
    assert (len(held_out), max(len(r.completion) for r in held_out)) == (16 + 2, 599)
