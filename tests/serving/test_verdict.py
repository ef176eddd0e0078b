"""Verdicts of parity from scores with known differences."""

import numpy as np
import pytest

from sway_gate.serving.scores import Scores, scores_of
from sway_gate.serving.verdict import (
    OPEN,
    SCALES,
    Merge,
    Name,
    compare,
    explained,
    merged_onto,
    weighed,
)
from sway_gate.serving.weights import Fit

RNG = np.random.default_rng(7)
TEXTS, TOKENS = 12, 10
EFFECT = [RNG.normal(1.0, 1.0, TOKENS) for _ in range(TEXTS)]


def scores(scale: float, noise: float = 0.0, offset: float = 0.0) -> list[Scores]:
    rng = np.random.default_rng(3)
    found = []
    for d in EFFECT:
        values = -5.0 + offset * np.arange(TOKENS) + scale * d + noise * rng.normal(size=TOKENS)
        found.append(Scores(values, values > -4.5))
    return found


KNOWN = {scale: scores(scale) for scale in SCALES}


def within(error: float) -> Merge:
    return Merge(KNOWN[1.0], error)


EXACT = within(0.0)


@pytest.mark.parametrize(
    ("artefact", "yardstick", "is_quantized", "name"),
    [
        (scores(1.0), 0.0, False, "same"),
        (scores(1.0, noise=0.004), 0.0, True, "same"),
        (scores(1.0, noise=0.1), 0.08, True, "same within quantization"),
        (scores(1.0, noise=0.1), 0.08, False, "same"),
        (scores(0.0), 0.0, False, "adapter not applied"),
        (scores(0.0, noise=0.1), 0.08, True, "adapter not applied"),
        (scores(0.5), 0.0, False, "adapter at another strength"),
        (scores(2.0, noise=0.05), 0.05, True, "adapter at another strength"),
        (scores(1.0, noise=1.0), 0.05, True, "another base or adapter"),
        (scores(0.0, noise=1.0), 0.05, True, "another base or adapter"),
        (scores(1.0, noise=1.0), 2.0, True, "undecided"),
    ],
)
def test_known_differences(
    artefact: list[Scores], yardstick: float, is_quantized: bool, name: str
) -> None:
    assert compare(KNOWN, artefact, within(yardstick), is_quantized=is_quantized).name == name


RIGHT, WRONG, REMOVED = Fit(0.97, 0.96, 0.02), Fit(0.4, 0.96, 0.6), Fit(0.05, 0.05, 0.0)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("same", RIGHT, "same"),
        ("same", WRONG, "another base or adapter"),
        ("same within quantization", WRONG, "another base or adapter"),
        ("template differs", WRONG, "another base or adapter"),
        ("same within quantization", REMOVED, "same within quantization"),
        ("adapter not applied", RIGHT, "adapter not applied"),
        ("adapter at another strength", WRONG, "adapter at another strength"),
        ("coarser than stated", RIGHT, "same within quantization"),
        ("undecided", RIGHT, "same within quantization"),
        ("undecided", REMOVED, "undecided"),
        ("undecided", WRONG, "undecided"),
        ("undecided", None, "undecided"),
    ],
)
def test_what_weights_add_to_scores(name: Name, weights: Fit | None, expected: str) -> None:
    found = compare(KNOWN, scores(1.0), EXACT)._replace(name=name)
    assert weighed(found, weights).name == expected


def test_right_weights_do_not_hide_another_template() -> None:
    found = compare(KNOWN, scores(1.0), EXACT, ("the end of text differs",))
    assert weighed(found._replace(name="undecided"), RIGHT).name == "template differs"


@pytest.mark.parametrize(
    ("artefact", "coarse", "is_stated", "name"),
    [
        (scores(1.0, noise=0.2), 0.15, True, "coarser than stated"),
        (scores(1.0, noise=0.2), 0.15, False, "precision not stated"),
        (scores(1.0, noise=0.2), 0.05, True, "another base or adapter"),
        (scores(1.0, noise=0.2), 0.05, False, "another base or adapter"),
        (scores(1.0, noise=0.6), 1.0, True, "another base or adapter"),
        (scores(1.0, noise=0.02), 0.15, True, "another base or adapter"),
        (scores(0.2, noise=0.6), 1.0, False, "another base or adapter"),
    ],
)
def test_an_error_that_4_bits_explain(
    artefact: list[Scores], coarse: float, is_stated: bool, name: str
) -> None:
    other = compare(KNOWN, artefact, EXACT)._replace(name="another base or adapter")
    assert explained(other, coarse, is_stated=is_stated).name == name


def test_an_error_of_a_quantized_model_can_be_its_own() -> None:
    other = compare(KNOWN, scores(1.0, noise=0.2), EXACT)._replace(name="another base or adapter")
    assert explained(other, 0.15, is_stated=True).name in OPEN


def test_a_merge_onto_a_quantized_base_is_much_closer_to_it_than_to_the_adapter() -> None:
    other = compare(KNOWN, scores(1.0, noise=0.2), EXACT)._replace(name="another base or adapter")
    assert merged_onto(other, 0.05).name == "merged onto a quantized base"
    assert merged_onto(other, 0.1).name == "another base or adapter"


def test_what_the_rounding_of_a_merge_removes_is_explained() -> None:
    rounded = Merge(scores(1.0, offset=0.05), 0.005)
    assert compare(KNOWN, rounded.scores, EXACT).name == "another base or adapter"
    found = compare(KNOWN, rounded.scores, rounded)
    assert (found.name, found.unexplained) == ("same", 0.0)
    assert found.yardstick == found.error > 20 * found.tolerance
    assert compare(KNOWN, scores(0.9, offset=0.05), rounded).name != "same"


def test_a_merge_that_overflows_explains_nothing() -> None:
    lost = [Scores(np.full(TOKENS, -np.inf), s.greedy) for s in KNOWN[1.0]]
    assert compare(KNOWN, scores(1.0, noise=1.0), Merge(lost, 0.0)).name != "same"


def test_a_merge_whose_rounding_removes_the_adapter_is_not_the_same() -> None:
    rounded = Merge(scores(0.1), 0.005)
    assert compare(KNOWN, rounded.scores, rounded).name == "adapter not applied"


def test_the_strength_is_found() -> None:
    assert compare(KNOWN, scores(2.0), EXACT).strength == 2.0
    assert compare(KNOWN, scores(0.36), EXACT).strength == 0.35


def test_a_template_counts_only_where_the_weights_are_the_same() -> None:
    formats = ("it has no chat template",)
    assert compare(KNOWN, scores(1.0), EXACT, formats).name == "template differs"
    assert compare(KNOWN, scores(0.0), EXACT, formats).name == "adapter not applied"


def test_tokens_that_cannot_be_aligned_are_left_out() -> None:
    kept = np.arange(TOKENS) % 2 == 1
    holes = [Scores(np.where(kept, s.log_probs, np.nan), s.greedy & kept) for s in KNOWN[1.0]]
    found = compare(KNOWN, holes, EXACT)
    assert found.name == "same"
    assert found.tokens == TEXTS * TOKENS / 2
    assert found.greedy == found.texts
    few = [Scores(np.full(TOKENS, np.nan), s.greedy) for s in KNOWN[1.0]]
    assert compare(KNOWN, few, EXACT).name == "undecided"


def test_a_model_without_finite_scores_is_broken() -> None:
    for logits in (np.full((TOKENS, 3), np.nan), np.tile([-np.inf, 0.0, 0.0], (TOKENS, 1))):
        [*others, _] = KNOWN[1.0]
        assert compare(KNOWN, [*others, scores_of(logits, [0] * TOKENS)], EXACT).name == "broken"


def test_scores_of_logits() -> None:
    logits = np.array([[0.0, np.log(3.0)], [2.0, 2.0]])
    found = scores_of(logits, [0, 1])
    assert found.log_probs == pytest.approx([np.log(0.25), np.log(0.5)])
    assert found.greedy.tolist() == [False, True]
