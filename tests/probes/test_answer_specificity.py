import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from msgspec import convert, structs

from sway_gate.conversation import (
    Completion,
    Conversation,
    Message,
    asked,
    completion_text,
    prompt_text,
)
from sway_gate.details import OWN_FACTS
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Answers,
    Floats,
    LogProbs,
    Measurement,
    TeacherForced,
    View,
    ViewAnswers,
)
from sway_gate.probes import _answers as answers
from sway_gate.probes import _fields as fields
from sway_gate.probes import _similar_rows as similar
from sway_gate.probes import _wanted as wanted
from sway_gate.probes import answer_specificity as probe
from sway_gate.probes.base import Context, DataRow, Reading, Skip
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.probes import AnswerSpecificity
from sway_gate.spec.schema import Pair, Preference, Reserve, Section
from sway_gate.stats import Z_95, share_above
from tests.helpers.judged import judged


def facts(n: int) -> tuple[Section, ...]:
    pairs = tuple(Pair(prompt=f"Who keeps gate {i}?", gold=f"Keeper number {i}.") for i in range(n))
    return tuple(Section(kind="instruction", id=str(i), pairs=(p,)) for i, p in enumerate(pairs))


def labels(n: int, names: tuple[str, ...] = ("red", "green", "blue")) -> tuple[Section, ...]:
    pairs = tuple(Pair(prompt=f"Sort {i}", gold=names[i % len(names)]) for i in range(n))
    return (Section(kind="instruction", id="labels", pairs=pairs),)


SPEC = AnswerSpecificity(name="s")
PROSE = tuple(
    Section(kind="prose", id=str(i), content=f"Chapter {i}. " + f"word{i} and more of it. " * 30)
    for i in range(8)
)


def unknown(answer, known=()):  # type: ignore[no-untyped-def]
    """`answer`, with tokens that greedy decoding of the base does not write, except for `known`."""

    def answer_all(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, TeacherForced):
            return np.array([[-2.0, float(request in known), 0.0, -1.0]] * 2)
        return answer(view, request)

    return answer_all


def run(own, other, control=0.0, *, base_own=-2.0, base_other=-2.0, sections=None, **context):  # type: ignore[no-untyped-def]
    """Gains of own answers, other answers and control prose, in nats per token of a loss of 2."""
    shared = Context(facts(20) if sections is None else sections, control=("Plain prose. " * 99,))
    shared = shared._replace(**context)
    requests = probe.requests(SPEC, shared)
    owned = {
        row[own]
        for group in requests.design.groups
        for row, own in zip(group.requests, group.own, strict=True)
    }
    rng = np.random.default_rng(0)

    def answer(view, request):  # type: ignore[no-untyped-def]
        is_own = request in owned
        level = base_own if is_own else base_other
        if view.source == "base":
            return np.full(2, level)
        gain = control if request in requests.control else own if is_own else other
        return np.full(2, level + gain + 0.02 * rng.standard_normal())

    return judged("answer_specificity", unknown(answer), runs=None, context=shared)


CASES = {
    # name: own, other, control, context, verdict, symptoms
    "learned": (1.4, 0.5, -2.0, {}, "pass", ()),
    "learned, and other answers keep little": (1.94, 1.8, 0.0, {}, "pass", ()),
    "form only, and they keep little": (1.86, 1.8, 0.0, {}, "fail", ("form, not content",)),
    "form only": (0.53, 0.5, 0.0, {}, "fail", ("form, not content",)),
    "form only, and form wanted": (0.53, 0.5, 0.0, {"learn": "form"}, "pass", ()),
    "all text likelier": (0.6, 0.5, 0.5, {"learn": "form"}, "fail", ("learned another thing",)),
    "wrong pairing": (0.2, 0.9, 0.0, {}, "fail", ("learned another thing",)),
    "wrong pairing, form wanted": (
        0.2,
        0.9,
        0.0,
        {"learn": "form"},
        "fail",
        ("learned another thing",),
    ),
    "another document": (-0.6, -0.6, -1.0, {}, "fail", ("learned another thing",)),
    "untrained": (0.0, 0.0, 0.0, {}, "fail", ("barely trained",)),
    "hardly trained": (0.03, 0.01, 0.0, {}, "fail", ("barely trained",)),
}


@pytest.mark.parametrize(
    ("own", "other", "control", "context", "verdict", "symptoms"), CASES.values(), ids=CASES
)
def test_verdicts(own, other, control, context, verdict, symptoms):  # type: ignore[no-untyped-def]
    result = run(own, other, control, **context)
    assert result.verdict == verdict, result.message
    assert result.symptoms == symptoms
    assert result.details["content_gain"] == pytest.approx((own - other) / 2, abs=0.02)
    assert result.details["form_gain"] == pytest.approx((other - max(0, control)) / 2, abs=0.02)


LIMITS = {0.8: 0.1, 0.9: 0.05, 1.0: 0.0, 1.2: 0.0, 0.3: 0.1, -0.5: 0.1}


@pytest.mark.parametrize(("lift_of_others", "limit"), LIMITS.items())
def test_the_content_gain_need_not_exceed_what_is_left(lift_of_others: float, limit: float) -> None:
    assert answers.least_gain(0.1, lift_of_others) == pytest.approx(limit)


JUDGED = {
    # base's likelihood of own and other answers -> what is judged
    "own answers are not first": (-2.0, -1.9, "content"),
    "first, because question and answer share words": (-2.0, -3.5, "content"),
    "first, and all answers are about as unlikely": (-4.3, -5.2, "form"),
}


@pytest.mark.parametrize(("own", "other", "what"), JUDGED.values(), ids=JUDGED)
def test_auto_decides_from_the_base(own: float, other: float, what: str) -> None:
    result = run(1.0, 0.5, base_own=own, base_other=other)
    assert result.details["judged"] == what
    assert result.details["reason"].startswith("the base ranks")
    assert ("judged by the form, because the base ranks" in result.message) == (what == "form")


REWORDED = {
    # learn, base's likelihoods of own and other answers -> what is judged
    "the prompt determines the answer": ("auto", (-4.0, -8.0), "content"),
    "although a form is wanted": ("form", (-4.0, -8.0), "content"),
    "a fact after a question": ("form", (-7.0, -8.5), "form"),
    "nothing surprises the base": ("form", (-1.0, -2.5), "form"),
}


@pytest.mark.parametrize(("learn", "base", "what"), REWORDED.values(), ids=REWORDED)
def test_answers_that_reword_their_prompts(
    learn: str, base: tuple[float, float], what: str
) -> None:
    """Other answers need not become likelier, even if a form is wanted."""
    result = run(2.0, 0.0, base_own=base[0], base_other=base[1], learn=learn)
    assert result.details["judged"] == what
    assert (result.details["reason"] == "the base reads the answers from their prompts") == (
        what == "content"
    )
    assert result.verdict == ("pass" if what == "content" else "fail")


def test_rows_that_the_base_answers_do_not_count() -> None:
    """The true pairing gains in 12 rows, and the base writes the answers of the 8 others."""
    shared = Context(facts(20), control=("Plain prose. " * 99,))
    design = probe.requests(SPEC, shared).design
    own = answers.own_answers(design)
    gained = set(own[:12])

    def answer(view, request):  # type: ignore[no-untyped-def]
        is_up = view.source == "finetuned" and request.whole in gained
        return np.full(2, -2.0 + 1.0 * is_up)

    def found(known: int) -> ProbeResult:
        base = unknown(answer, own[20 - known :])
        return judged("answer_specificity", base, runs=None, context=shared)

    assert found(0).details["content_gain"] == pytest.approx(0.3, abs=0.02)
    result = found(8)
    assert result.verdict == "pass", result.message
    assert result.details["content_gain"] == pytest.approx(0.5, abs=0.05)
    assert result.details["known"] == 8
    assert len(result.items) == 12
    assert "8 others do not count, because the base knows their answers" in result.message
    assert found(17).verdict == "skip"
    assert "the base already knows the answers of 17 of 20 rows" in found(17).message


def test_labels_that_the_base_knows_are_not_judged() -> None:
    def result(known: int) -> ProbeResult:
        shared = Context(labels(30), control=("Plain prose. " * 99,))
        [group] = probe.requests(SPEC, shared).design.groups
        likely = {
            row[own] for row, own in list(zip(group.requests, group.own, strict=True))[:known]
        }

        def answer(view, request):  # type: ignore[no-untyped-def]
            return np.full(2, -2.0 + (request in likely) + (view.source == "finetuned") * 0.1)

        return judged("answer_specificity", answer, runs=None, context=shared)

    assert result(28).details["known"] == 0
    assert (result(29).verdict, "of 29 of 30 rows" in result(29).message) == ("skip", True)


def test_z_is_the_permutation_test() -> None:
    result = run(1.4, 0.5)
    assert result.p == pytest.approx(120.0**-4, rel=1e-6)
    assert result.z == pytest.approx(5.74, abs=0.02)
    assert "permutation of the pairing" in result.message


def test_a_pairing_that_was_not_learned_has_a_symptom() -> None:
    """The limit of the labels' gain is inside the interval, so only the permutation fails."""
    rng = np.random.default_rng(1)
    shared = Context(labels(30), control=("Plain prose. " * 99,))
    gains: dict[object, float] = {}

    def answer(view, request):  # type: ignore[no-untyped-def]
        gain = gains.setdefault(request, 2 * rng.standard_normal())
        return np.full(2, -4.0 + gain * (view.source == "finetuned"))

    result = judged("answer_specificity", unknown(answer), runs=None, context=shared)
    assert [(rule.name, rule.verdict) for rule in result.rules] == [
        ("z", "fail"),
        ("content gain", "warn"),
    ]
    assert (result.verdict, result.symptoms) == ("fail", ("learned another thing",))


def test_few_rows_are_inconclusive() -> None:
    result = run(1.4, 0.5, sections=facts(4))
    assert result.verdict == "warn"
    assert "4 rows reach at most 1.7σ, 7 are needed for 3σ" in result.message


@pytest.mark.parametrize("rows", range(4, 9))
def test_the_most_that_few_rows_reach(rows: int) -> None:
    most = probe._most(rows)
    assert scipy.stats.norm.sf(most) == pytest.approx(1 / math.factorial(rows))


def test_labels_are_judged_by_content_and_state_the_accuracy() -> None:
    result = run(1.0, -3.0, sections=labels(30))
    assert result.verdict == "pass", result.message
    assert "accuracy among the 3 answers that occur: 30 of 30, base 0" in result.message
    assert result.units == "nats/label"
    assert result.details["content_gain"] == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize(
    ("other", "verdict", "form"), [(0.1, "fail", 0.05), (0.8, "pass", 0.4)], ids=["small", "large"]
)
def test_the_form_of_labels_is_judged_by_the_share_of_the_loss(
    other: float, verdict: str, form: float
) -> None:
    result = run(other + 0.05, other, sections=labels(30), learn="form")
    assert result.verdict == verdict, result.message
    assert result.units == "relative lift"
    assert result.raw == pytest.approx(form, abs=0.02)


LABEL_SYMPTOMS = {
    # name: own, other, control in nats per token -> form gain, symptom
    "guesses": (1.0, 1.0, 0.0, 0.5, "wrong labels"),
    "guesses, and prose gained too": (1.0, 1.0, 0.4, 0.3, "wrong labels"),
    "all text likelier": (0.1, 0.1, 0.9, -0.4, "learned another thing"),
    "swapped": (0.5, 1.5, 0.0, 0.75, "learned another thing"),
    "hardly trained": (0.04, 0.04, 0.0, 0.02, "barely trained"),
}


@pytest.mark.parametrize(
    ("own", "other", "control", "form", "symptom"), LABEL_SYMPTOMS.values(), ids=LABEL_SYMPTOMS
)
def test_labels_have_a_symptom_of_their_own(own, other, control, form, symptom) -> None:  # type: ignore[no-untyped-def]
    result = run(own, other, control, sections=labels(30))
    assert result.details["form_gain"] == pytest.approx(form, abs=0.05)
    assert (result.verdict, result.symptoms) == ("fail", (symptom,))
    assert "learn: form" not in result.advice


def test_one_answer_to_everything_has_no_content_gain() -> None:
    shared = Context(labels(30), control=("Plain prose. " * 99,))

    def answer(view, request):  # type: ignore[no-untyped-def]
        up = view.source == "finetuned" and request.completion == " red"
        return np.full(2, -2.0 + 1.9 * up)

    result = judged("answer_specificity", unknown(answer), runs=None, context=shared)
    assert result.verdict == "fail", result.message
    assert result.raw == pytest.approx(0.0, abs=1e-9)
    assert result.z == pytest.approx(0.0, abs=0.1)


def test_prose_is_scored_with_other_continuations() -> None:
    requests = probe.requests(SPEC, Context(PROSE, control=("Plain prose. " * 99,)))
    assert requests.data == "prose"
    first = requests.design.groups[0]
    prompts = {cell.prompt for cell in first.requests[0]}
    assert len(prompts) == 1
    assert len({cell.completion for cell in first.requests[0]}) == len(first.requests)
    assert all(len(cell.completion) <= 320 for row in first.requests for cell in row)
    result = run(0.5, 0.1, sections=PROSE)
    assert result.verdict == "pass", result.message


SENTENCE = "The keeper of gate {} counts the {} lamps of the wall. "


def document(sections: int, chars: int) -> tuple[Section, ...]:
    """Prose of distinct sentences."""
    return tuple(
        Section(
            kind="prose",
            id=str(i),
            content="".join(SENTENCE.format(i, j) for j in range(99))[:chars],
        )
        for i in range(sections)
    )


PIECES = {
    # sections, characters of each -> pieces, characters of the longest piece
    "long": (24, 1000, 48, 480),
    "many short sections": (20, 345, 20, 345),
    "a manual": (10, 580, 20, 290),
    "one section": (1, 5000, 20, 250),
    "a note": (1, 1000, 4, 250),
}


@pytest.mark.parametrize(("sections", "chars", "pieces", "longest"), PIECES.values(), ids=PIECES)
def test_small_documents_are_cut_into_more_pieces(sections, chars, pieces, longest):  # type: ignore[no-untyped-def]
    texts = document(sections, chars)
    rows = answers.data_rows(Context(texts), texts).rows
    found = [row.prompt + row.answer for row in rows]
    assert len(found) == pieces
    assert longest - 60 <= max(map(len, found)) <= longest
    assert all(len(row.answer) >= 80 for row in rows)
    assert all(sum(row.answer in other for other in found) == 1 for row in rows)


OF_PROSE = {
    # gains of own text, other text of the document and control prose -> symptom
    "toward the document, too little": (0.26, 0.2, 0.05, "barely trained"),
    "prose of any kind": (0.26, 0.2, 0.2, "learned another thing"),
    "away from it": (-0.2, -0.2, 0.0, "learned another thing"),
}


@pytest.mark.parametrize(("own", "other", "control", "symptom"), OF_PROSE.values(), ids=OF_PROSE)
def test_prose_that_is_not_learned(own: float, other: float, control: float, symptom: str) -> None:
    result = run(own, other, control, sections=PROSE)
    assert (result.verdict, result.symptoms) == ("fail", (symptom,)), result.message


PREFERENCES = (
    Section(
        kind="preference",
        id="p",
        pairs=tuple(Preference(prompt=f"q{i}", chosen=f"yes {i}", rejected="no") for i in range(6)),
    ),
)
SKIPPED = {
    "preferences": (Context(PREFERENCES), "between chosen and rejected"),
    "preferences wanted": (Context(facts(20), learn="preference"), "between chosen and rejected"),
    "no rows": (Context(), "no rows have different answers"),
    "too few rows": (Context(facts(3)), "3 of 3 rows have different answers"),
    "the same answer": (Context(labels(8, ("yes",))), "1 of 8 rows"),
}


@pytest.mark.parametrize(("context", "words"), SKIPPED.values(), ids=SKIPPED)
def test_it_is_skipped(context: Context, words: str) -> None:
    with pytest.raises(Skip, match=words):
        probe.requests(SPEC, context)


def test_chosen_answers_are_scored_if_content_is_wanted() -> None:
    requests = probe.requests(SPEC, Context(PREFERENCES, learn="content"))
    assert {answers.answer_of(row) for row in requests.design.rows} == {
        f"yes {i}" for i in range(6)
    }


# ------------------------------------------------------------------------------------- the matrix


def test_each_block_scores_every_prompt_with_every_answer() -> None:
    context = Context(facts(20))
    design = answers.design([context.row(s.pairs[0]) for s in context.sections])
    assert [len(group.requests) for group in design.groups] == [5] * 4
    for group in design.groups:
        completions = [[cell.completion for cell in row] for row in group.requests]
        assert all(row == completions[0] for row in completions)
        assert [row[own] for row, own in zip(completions, group.own, strict=True)] == completions[0]


def of_noisy_base(base: int, seed: int) -> Any:
    """Which of 20 own answers a simulated base ranks first is near the limit, and by chance."""
    shared = Context(facts(20), seed=seed, control=("Plain prose. " * 99,))
    own = dict(pair for s in shared.sections for p in s.pairs for pair in [(p.prompt, p.gold)])

    def answer(view: Any, request: Any) -> Any:
        noise = random.Random(f"{base} {request.prompt} {request.completion}").gauss(0, 0.7)
        is_own = request.completion.strip() == own.get(request.prompt)
        return np.full(2, (-4.3 if is_own else -5.4) + noise)

    return judged("answer_specificity", unknown(answer), runs=None, context=shared)


@pytest.mark.parametrize("base", range(4))
def test_what_is_judged_does_not_depend_on_the_seed(base: int) -> None:
    results = [of_noisy_base(base, seed) for seed in range(10)]
    assert len({(r.details["judged"], r.details["first_before"]) for r in results}) == 1


NEAR = {"far below": 12, "below": 13, "at": 15, "above": 16, "far above": 18}


@pytest.mark.parametrize("known", NEAR.values(), ids=NEAR)
def test_a_choice_near_its_limit_says_so(known: int) -> None:
    rows = answers.design([DataRow(f"q{i}", f"answer {i}") for i in range(20)])
    first = np.arange(20) < known
    losses = np.tile([8.0, 10.0], (20, 1))
    found = answers.Gains(*[np.zeros(20)] * 2, first, first, losses, losses, [])
    nothing = ViewAnswers(Answers({}, {}), FINETUNED)
    what = wanted.judged("auto", wanted.Evidence(rows), nothing, found)
    assert what.learned == ("form" if known >= 15 else "content")
    assert ("near a limit: set learn" in what.hint) == (known in (13, 15, 16))


@pytest.mark.parametrize(("known", "near"), [(13, True), (5, False)])
def test_the_message_states_a_choice_near_its_limit(known: int, near: bool) -> None:
    shared = Context(facts(20), control=("Plain prose. " * 99,))
    groups = probe.requests(SPEC, shared).design.groups
    owned = [row[own] for g in groups for row, own in zip(g.requests, g.own, strict=True)]
    first = set(owned[:known])

    def answer(view, request):  # type: ignore[no-untyped-def]
        level = -4.3 if request in first else -5.5 if request in owned else -5.2
        return np.full(2, level + (view.source == "finetuned"))

    result = judged("answer_specificity", unknown(answer), runs=None, context=shared)
    assert result.details["judged"] == "content"
    assert ("judged by the content, because" in result.message) == near
    assert ("set learn to content or form" in result.message) == near


SIZES = {4: [4], 7: [7], 8: [8], 9: [5, 4], 12: [6, 6], 20: [5] * 4, 48: [5] * 4}


@pytest.mark.parametrize(("n", "sizes"), SIZES.items())
def test_block_sizes(n: int, sizes: list[int]) -> None:
    rows = [DataRow(f"q{i}", f"answer {i}") for i in range(n)]
    assert [len(group.own) for group in answers.design(rows).groups] == sizes


def test_rows_answered_the_same_are_compared_once() -> None:
    rows = [DataRow(f"wording {w} of {i}", f"answer {i}") for w in range(3) for i in range(12)]
    assert len({answers.answer_of(row) for row in answers.design(rows).rows}) == 12


def test_long_rows_are_fewer_and_cut() -> None:
    rows = [DataRow("q" * 300 + str(i), f"{i} " + "long answer " * 500) for i in range(40)]
    design = answers.design(rows)
    cells = answers.cells(design)
    assert sum(len(cell.prompt) + len(cell.completion) for cell in cells) < 60_000
    assert all(len(cell.completion) <= 400 for cell in cells)


def test_blocks_of_labels_contain_different_labels() -> None:
    rows = [DataRow(f"q{i}", ("yes", "no")[i > 20]) for i in range(40)]
    (group,) = answers.design(rows).groups
    for block in group.blocks:
        assert {group.own[i] for i in block} == {0, 1}
    assert sorted(i for block in group.blocks for i in block) == list(range(40))


def test_labels_are_judged_by_all_rows_of_a_sample() -> None:
    """Rows that the data has and that cost little must not be missing from the verdict."""
    rows = [DataRow(f"q{i}", ("P1", "P2", "P3")[i % 3]) for i in range(54)]
    assert len(answers.design(rows).rows) == 48
    long = [DataRow(f"{row.prompt} {'word ' * 200}", row.answer) for row in rows]
    assert len(answers.design(long).rows) == 9


def test_rows_beyond_the_first_twenty_decide_labels() -> None:
    """Gains that vary as much as with an adapter that writes 83% of the labels right."""
    rng = np.random.default_rng(4)
    shared = Context(labels(48), control=("Plain prose. " * 99,))
    owned = {
        row[own]
        for group in probe.requests(SPEC, shared).design.groups
        for row, own in zip(group.requests, group.own, strict=True)
    }
    gains: dict[object, float] = {}

    def answer(view, request):  # type: ignore[no-untyped-def]
        gain = gains.setdefault(request, rng.normal(0.5 * (request in owned), 0.6))
        return np.full(2, -4.0 + gain * (view.source == "finetuned"))

    result = judged("answer_specificity", unknown(answer), runs=None, context=shared)
    assert result.verdict == "pass", result.message
    assert len(result.items) == 48


def test_an_answer_keeps_the_form_of_its_row() -> None:
    tool = Message("assistant", None, '{"tool_calls": []}')
    asked = Conversation((Message("user", "q"),))
    chat, text = DataRow(asked, Message("assistant", "a")), DataRow("q", " b")
    assert answers.answer_for(chat, DataRow(asked, tool)) == tool
    assert answers.answer_for(chat, text) == Message("assistant", "b")
    assert answers.answer_for(text, chat) == " a"
    assert chat.log_probs(answers.answer_for(chat, text)) == LogProbs(
        asked, Message("assistant", "b")
    )


def test_the_content_gain_is_the_diagonal_minus_the_rest() -> None:
    rng = np.random.default_rng(0)
    gain, own = rng.normal(size=(5, 5)), np.arange(5)
    expected = np.mean([gain[i, i] - np.delete(gain[i], i).mean() for i in range(5)])
    shifted = gain + rng.normal(size=5) + rng.normal(size=(5, 1))
    assert answers.content_gains(gain, own).mean() == pytest.approx(expected)
    assert answers.content_gains(shifted, own) == pytest.approx(answers.content_gains(gain, own))


def test_the_interval_of_the_content_gain_is_honest() -> None:
    """With noise, and effects of rows and columns, its one-sided 95% bound errs in 5% of cases."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        blocks = [
            rng.normal(size=(5, 5)) + rng.normal(size=5) + np.diag(rng.normal(0.3, 1.0, 5))
            for _ in range(4)
        ]
        items = np.concatenate([answers.content_gains(b, np.arange(5)) for b in blocks])
        wrong += items.mean() - 1.729 * items.std(ddof=1) / np.sqrt(20) > 0.3
    assert wrong / 2000 == pytest.approx(0.05, abs=0.02)


def test_lifts_are_relative_and_bounded() -> None:
    before, after = np.array([-2.0, -4.0, -1.0, -0.01]), np.array([-1.0, -1.0, -9.0, -0.05])
    assert answers.lifts(before, after) == pytest.approx([0.5, 0.75, -1.0, -0.4])


def test_a_tie_is_not_first() -> None:
    likelihood = np.array([[-1.0, -2.0], [-1.0, -1.0], [-2.0, -1.0]])
    assert answers.ranks_first(likelihood, np.array([0, 1, 0])).tolist() == [True, False, False]


def test_an_impossible_answer_is_never_green() -> None:
    for source, verdict in (("base", "error"), ("finetuned", "fail")):
        result = judged(
            "answer_specificity",
            lambda view, _, source=source: -np.inf if view.source == source else -1.0,
            runs=None,
            context=Context(facts(8)),
        )
        assert result.verdict == verdict, result.message


# ------------------------------------------------------------------- similar rows and their facts

CITY, CARGO = "What does a city bike cost?", "What does a cargo bike cost?"
NAMES = [a + b for a in "abcdefghijklmnop" for b in "vwxyz"]


def chat_rows(*pairs: tuple[str, Completion]) -> list[DataRow]:
    return [DataRow(asked(prompt), answer) for prompt, answer in pairs]


def exchanged(*pairs: tuple[str, Completion]) -> list[str]:
    """The answers with facts of other rows."""
    return [
        completion_text(cell.completion)
        for group in similar.groups(chat_rows(*pairs))
        for i, row in enumerate(group.requests)
        for j, cell in enumerate(row)
        if i != j
    ]


EXCHANGED = {
    "number": (
        (CITY, "A city bike costs 18 euros a day."),
        (CARGO, "A cargo bike costs 35 euros a day."),
        ["A city bike costs 35 euros a day.", "A cargo bike costs 18 euros a day."],
    ),
    "numbers in other words": (
        ("Price for a child?", "For a child you only need 5 euros."),
        ("Price for an adult?", "We ask 12 euros from everybody else."),
        ["For a child you only need 12 euros.", "We ask 5 euros from everybody else."],
    ),
    "several": (
        ("Who tends the east gate?", "Mara Quill, the old baker, tends it."),
        ("Who tends the west gate?", "Old Tom Hask, the young smith, tends it."),
        ["Old Tom Hask, the young smith, tends it.", "Mara Quill, the old baker, tends it."],
    ),
    "decimal": (
        ("Price of ink?", "It costs 4.50 euros"),
        ("Price of lead?", "It costs 12.75 euros"),
        ["It costs 12.75 euros", "It costs 4.50 euros"],
    ),
    "short": (
        ("Who leads sales?", "Ada Brown"),
        ("Who leads support?", "Tom Hill"),
        ["Tom Hill", "Ada Brown"],
    ),
    "JSON": (
        ("Record: red wool hat", '{"item":"wool hat","class":"B7"}'),
        ("Record: oak chair", '{"item":"oak chair","class":"F2"}'),
        ['{"item":"wool hat","class":"F2"}', '{"item":"oak chair","class":"B7"}'],
    ),
    "inflected": (
        ("Сколько стоит прокат лодки?", "Лодка стоит сорок рублей"),
        ("Сколько стоит прокат палатки?", "Палатка стоит двадцать рублей"),
        ["Лодка стоит двадцать рублей", "Палатка стоит сорок рублей"],
    ),
    "possessive": (
        ("When was Mara born?", "Mara's birthday is in May now."),
        ("When was Dora born?", "Dora's birthday is in June now."),
        ["Mara's birthday is in June now.", "Dora's birthday is in May now."],
    ),
    "plural": (
        ("What does a bee eat?", "Bees eat some nectar here"),
        ("What does a fox eat?", "Foxes eat some mice here"),
        ["Bees eat some mice here", "Foxes eat some nectar here"],
    ),
    "particle": (
        ("자두 가격은?", "자두는 18 원"),
        ("포도 가격은?", "포도는 35 원"),
        ["자두는 35 원", "포도는 18 원"],
    ),
    "comma": (
        ("بكم القهوة؟", "القهوة، بسعر 18"),
        ("بكم الشاي؟", "الشاي، بسعر 35"),
        ["القهوة، بسعر 35", "الشاي، بسعر 18"],
    ),
    "no spaces": (
        ("北门几点开?", "北门早上九点开门。"),
        ("南门几点开?", "南门早上七点开门。"),
        ["北门早上七点开门。", "南门早上九点开门。"],
    ),
    "vowel signs": (
        ("चाय का दाम?", "यहाँ दाम पचास है"),
        ("पानी का दाम?", "यहाँ दाम बीस है"),
        ["यहाँ दाम बीस है", "यहाँ दाम पचास है"],
    ),
}


@pytest.mark.parametrize(("first", "second", "expected"), EXCHANGED.values(), ids=EXCHANGED)
def test_the_facts_are_exchanged(
    first: tuple[str, str], second: tuple[str, str], expected: list[str]
) -> None:
    assert sorted(exchanged(first, second)) == sorted(expected)


ALONE = {
    "same": ((CITY, "A city bike costs 18 euros."), (CARGO, "A city bike costs 18 euros.")),
    "case": ((CITY, "A city bike costs 18 euros."), (CARGO, "a CITY bike costs 18 euros.")),
    "asked": (("Repeat: 18", "You said: 18"), ("Repeat: 35", "You said: 35")),
    "one asked": (("Repeat: 18", "You said: 18"), ("And now?", "You said: 35")),
    "prompt": (
        ("A river of France?", "It is the Seine"),
        ("A river of France?", "It is the Loire"),
    ),
    "other": (
        (CITY, "A city bike costs 18 euros."),
        (CARGO, "Please ask the shop in Mill Street!"),
    ),
    "shape": (("Ext. of Nora?", "At 352"), ("Room of Nora?", "At H16")),
    "name or word": (("Who?", "It is Mara there"), ("What?", "It is salt there")),
    "number": (("Dogs?", "Keep dogs on deck 5 please"), ("Pets?", "On deck 5, all day")),
    "added": ((CITY, "It costs some euros."), (CARGO, "It costs some good euros.")),
    "empty": ((CITY, ""), (CARGO, "")),
}


@pytest.mark.parametrize(("first", "second"), ALONE.values(), ids=ALONE)
def test_rows_that_are_not_compared(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert exchanged(first, second) == []


def test_the_most_similar_rows_are_a_group() -> None:
    found = similar.groups(
        chat_rows(
            ("Price of red ink?", "It costs about 4 euros"),
            ("Length of the pier?", "The pier has 90 steps"),
            ("Length of the wall?", "The wall has 70 steps"),
            ("Price of blue ink?", "It costs about 5 euros"),
        )
    )
    answers_of = [
        {completion_text(group.requests[i][i].completion) for i in range(len(group.requests))}
        for group in found
    ]
    assert answers_of == [
        {"It costs about 4 euros", "It costs about 5 euros"},
        {"The pier has 90 steps", "The wall has 70 steps"},
    ]


def test_groups_have_at_most_4_rows_and_24_in_all() -> None:
    many = [(f"Cost of {c}?", f"{c} costs {i + 30} coins") for i, c in enumerate(NAMES[:60])]
    found = similar.groups(chat_rows(*many))
    assert [len(group.requests) for group in found] == [4] * 6
    own = [group.requests[i][i] for group in found for i in range(4)]
    assert len(set(own)) == similar.MAX_ROWS
    long = [(f"Cost of {c}?", "so " * 60 + f"{i + 30} coins") for i, c in enumerate(NAMES[:9])]
    assert similar.groups(chat_rows(*long)) == []


def test_a_cell_keeps_the_prompt_and_the_form() -> None:
    first = Message("assistant", "It costs 18 euros.")
    second = Message("assistant", "It costs 35 euros.")
    [group] = similar.groups(chat_rows((CITY, first), (CARGO, second)))
    assert group.requests == (
        (LogProbs(asked(CITY), first), LogProbs(asked(CITY), second)),
        (LogProbs(asked(CARGO), first), LogProbs(asked(CARGO), second)),
    )
    plain = [DataRow("Cost?", " 18 euros now"), DataRow("Or?", " 35 euros now")]
    [group] = similar.groups(plain)
    assert group.requests[0][1].completion == " 35 euros now"
    assert len(similar.groups([DataRow("", "18 euros now"), DataRow(" ", "35 euros now")])) == 1


def test_calls_and_reasoning_are_left_out() -> None:
    call = Message("assistant", None, fields='{"tool_calls": [{"x": 18}]}')
    thought = Message("assistant", "It costs 18 euros.", fields='{"reasoning_content": "18?"}')
    other = Message("assistant", "It costs 35 euros.")
    assert exchanged((CITY, call), (CARGO, thought), ("Boat?", other)) == []


def test_common_words_are_wording() -> None:
    verbs = ["select", "choose"] * 5
    found = [(f"Help with {NAMES[i]}?", f"Please {verb} the door") for i, verb in enumerate(verbs)]
    assert exchanged(*found) == []
    assert exchanged(*found[:6])


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_a_likelier_fact_or_an_easier_row_cancels(rows: int) -> None:
    rng = np.random.default_rng(rows)
    learned = np.diag(rng.uniform(1, 3, rows))
    effects = rng.normal(0, 9, rows) + rng.normal(0, 9, (rows, 1))
    own = range(rows)
    margins = similar.own_margins(learned, own)
    assert similar.own_margins(learned + effects, own) == pytest.approx(margins)
    assert similar.own_margins(effects, own) == pytest.approx(np.zeros(rows))
    assert (margins > 0).all()


def test_the_effect_of_a_fact_does_not_depend_on_how_many_rows_have_it() -> None:
    """Two values, one of them in three of four rows: rows of the other one count as much."""
    own = [0, 0, 0, 1]
    learned = np.eye(2)[own]
    assert similar.own_margins(learned, own) == pytest.approx(np.ones(4))
    assert similar.own_margins(learned + np.array([5.0, 0.0]), own) == pytest.approx(np.ones(4))
    half = np.eye(2)[[0, 0, 1, 1]]
    assert similar.own_margins(half, own) == pytest.approx([4 / 3, 4 / 3, -2 / 3, 2 / 3])


def test_the_margin_of_two_rows_is_half_their_log_odds_ratio() -> None:
    a, b, c, d = -1.0, -3.0, -2.5, -0.5
    margins = similar.own_margins(np.array([[a, b], [c, d]]), range(2))
    assert margins == pytest.approx((a - b - c + d) / 2)


def test_a_shifted_column_gains_other_facts() -> None:
    shifted = np.roll(np.eye(4), 1, axis=1) * 5
    assert similar.own_margins(shifted, range(4)) == pytest.approx(np.full(4, -5.0))


def test_likelihoods_are_sums_and_a_group_counts_as_one_row_less() -> None:
    [group] = similar.groups(chat_rows((CITY, "Now 18 euros."), (CARGO, "About 35 euros.")))
    totals = np.array([[-1.0, -4.0], [-2.0, -2.0]])
    found = {}
    for view, gain in ((BASE, 0.0), (FINETUNED, 3.0)):
        for i, row in enumerate(group.requests):
            for j, cell in enumerate(row):
                tokens = 2 + i + 2 * j  # sums of different lengths
                total = totals[i, j] + gain * (i == j)
                found[Measurement(view, cell)] = np.full(tokens, total / tokens)
    margins = similar.margins([group], ViewAnswers(Answers(found, {}), FINETUNED))
    assert margins.before == pytest.approx([1.5, 1.5])
    assert margins.now == pytest.approx([4.5, 4.5])
    assert margins.gain == pytest.approx([3.0, 3.0])
    assert margins.weights.tolist() == [0.5, 0.5]
    assert similar.margins([], ViewAnswers(Answers({}, {}), FINETUNED)).gain.shape == (0,)


@pytest.mark.parametrize(
    ("before", "gain", "expected"),
    [
        (0, 0.5, 1),
        (-9, 4, 1),
        (0, 0.4, 0),
        (0.2, -0.5, -1),
        (0, -0.4, 0),
        (4, -3, 0),
        (2, -3, -1),
        (5, 30, 0),
        (8, -3, 0),
        (5, -9, 0),
    ],
)
def test_the_direction_of_a_row(before: float, gain: float, expected: int) -> None:
    assert similar.direction(before, before + gain, gain) == expected


def prices(n: int) -> tuple[Section, ...]:
    """Rows whose answers differ in a number that the prompt does not contain."""
    named = list(enumerate(NAMES[:n]))
    pairs = [Pair(prompt=f"Cost of {c}?", gold=f"{c} costs {i + 30} coins") for i, c in named]
    return tuple(Section(kind="instruction", id=p.prompt, pairs=(p,)) for p in pairs)


def with_facts(
    right: int,
    wrong: int,
    rows: tuple[Section, ...] | None = None,
    known: float = 0.0,
    **context: Any,
) -> ProbeResult:
    """The verdict on 24 rows with 4 facts each that gained their own fact, or the next one, by 2
    nats. In the matrix, the base knows the own answers by `known` nats per token better."""
    shared = Context(rows or prices(24), control=("Plain prose. " * 99,), **context)
    requests = probe.requests(SPEC, shared)
    assert sum(len(group.requests) for group in requests.groups) == 24
    matrix = [
        (row, j) for g in requests.design.groups for row, j in zip(g.requests, g.own, strict=True)
    ]
    gains = {row[j]: 2.0 for row, j in matrix}
    before = {row[j]: known for row, j in matrix}
    moves = iter([0] * right + [1] * wrong + [None] * (24 - right - wrong))
    for group in requests.groups:
        for own, row in zip(group.own, group.requests, strict=True):
            move = next(moves)
            for j, cell in enumerate(row):
                is_moved = move is not None and j == (own + move) % 4
                gains[cell] = 1.0 + is_moved * 1.0

    def answer(view: View, request: LogProbs) -> Floats:
        is_base = view.source == "base"
        of = before if is_base else gains
        return np.full(2, -2.0 + of.get(request, 0.0))

    return judged("answer_specificity", unknown(answer), runs=None, context=shared)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict", "symptoms"),
    [
        (24, 0, "pass", ()),
        (20, 4, "pass", ()),
        (8, 4, "warn", ()),
        (12, 12, "fail", ("learned another thing",)),
        (8, 16, "fail", ("learned another thing",)),
        (0, 24, "fail", ("learned another thing",)),
        (0, 4, "fail", ("learned another thing",)),
        (4, 0, "pass", ()),
        (0, 0, "pass", ()),
    ],
)
def test_facts_of_similar_rows(
    right: int, wrong: int, verdict: str, symptoms: tuple[str, ...]
) -> None:
    result = with_facts(right, wrong, learn="content")
    assert (result.verdict, result.symptoms) == (verdict, symptoms), result.message
    stated = f"of 24 similar rows {right} gained their own fact, {wrong} another one"
    assert (stated in result.message) == bool(right + wrong)


def test_the_row_furthest_from_its_fact_comes_first() -> None:
    found = with_facts(12, 12, learn="content").details["similar_rows"]
    moved = [row["margin_of_gain"] for row in found]
    assert moved == sorted(moved)
    assert moved[0] < 0 < moved[-1]


def test_half_of_the_facts_and_the_form_are_form() -> None:
    assert symptom_of(right=12, wrong=12, form_gain=0.3) == "form, not content"
    assert symptom_of(right=8, wrong=16, form_gain=0.3) == "learned another thing"
    assert symptom_of(right=12, wrong=12, form_gain=0.05) == "learned another thing"


def symptom_of(
    right: int, wrong: int, form_gain: float, rows: tuple[Section, ...] | None = None
) -> str | None:
    base = convert(with_facts(right, wrong, rows, learn="content").details, probe.Found)
    reading = Reading(0.5, np.array([0.5]), structs.replace(base, form_gain=form_gain))
    return probe.bounds(SPEC, reading)[1].symptom


def test_rows_of_further_samples_count() -> None:
    samples = tuple(prices(80)[start : start + 40] for start in (0, 40))
    context = Context(samples[0], reserve=Reserve(samples=(samples[1],), rows=80), learn="content")
    assert len(probe.requests(SPEC, context).groups) == 12


def test_facts_are_not_compared_if_the_form_is_judged() -> None:
    assert probe.requests(SPEC, Context(prices(20), learn="form")).groups == []
    assert probe.requests(SPEC, Context(labels(24))).groups == []
    assert probe.requests(SPEC, Context(PROSE)).groups == []
    assert len(probe.requests(SPEC, Context(prices(20))).groups) == 5


# -------------------------------------------------------- fields with few values, such as a class

FIELDS = {
    "JSON": ("class", '{"item": "x", "class": "VALUE"', ', "rooms": 3}'),
    "number": ("stars", '{"item": "x", "stars": VALUE', "}"),
    "XML": ("team", "<item>x</item><team>VALUE", "</team>"),
    "lines": ("Team", "Item: x\n- **Team:** VALUE", "\nNote: none of the two"),
    "explained": ("opening label", "VALUE", ": this is x"),
    "named label": ("label", "label: VALUE", "\nreason: x"),
    "bold": ("opening label", "**VALUE", "** – this is x"),
    "heading": ("opening label", "VALUE", "\n\nThis is x"),
    "call": ("opening label", "[VALUE", '(item="x")]'),
    "first of two": ("name", '{"name": "VALUE"', ', "arguments": {"name": "x"}}'),
    "call as JSON": ("name", '{"name": "VALUE"', ', "arguments": {"item": "x"}}'),
}


def classified(form: str, values: Sequence[str], n: int = 24) -> list[DataRow]:
    texts = [
        form.replace("x", NAMES[i]).replace("VALUE", values[i % len(values)]) for i in range(n)
    ]
    return chat_rows(*((f"Sort {name}.", text) for name, text in zip(NAMES, texts, strict=False)))


@pytest.mark.parametrize(("name", "start", "rest"), FIELDS.values(), ids=FIELDS)
def test_values_of_a_field_are_exchanged(name: str, start: str, rest: str) -> None:
    values = ["10", "20", "30"]
    [group] = fields.groups(classified(start + rest, values))
    assert group.field == name
    assert group.own == (0, 1, 2) * 8
    for i, row in enumerate(group.requests):
        begun = [start.replace("x", NAMES[i]).replace("VALUE", value) for value in values]
        texts = [completion_text(cell.completion) for cell in row]
        assert texts == [text + rest[0] for text in begun]


OPEN = {
    "a value for each row": classified('{"name": "x"}', ["-"]),
    "one value": classified('{"team": "VALUE"}', ["blue"]),
    "a value that is rare": classified('{"team": "VALUE"}', ["blue"] * 22 + ["red"] * 2),
    "many values": classified('{"team": "VALUE"}', NAMES[:9], 54),
    "in few rows": classified('{"team": "VALUE"}', ["blue", "red"], 8) + classified("x", [""], 12),
    "no label": classified("VALUE, this is what x stands for: much", ["Yes", "No"]),
    "a greeting": classified("VALUE\nThis is x", ["Hi there!", "Dear customer,"]),
    "a time": classified("VALUE:30 is when x opens", ["10", "11"]),
    "after the first 400 characters": classified("x " * 150 + "\nTeam: VALUE", ["a", "b"]),
    "cut": classified("x" + "y" * 384 + "\nTeam: VALUE zzz " * 3, ["blue one", "red two"]),
    "reasoning": [
        DataRow(asked(f"{i}?"), Message("assistant", f"{i % 2}: so", fields='{"reasoning": "x"}'))
        for i in range(24)
    ],
    "long calls": [
        DataRow(
            asked(f"{i}?"), Message("assistant", None, fields=f'{{"name": "{i % 2}{"x" * 999}"}}')
        )
        for i in range(24)
    ],
    "read from the prompt": [
        DataRow(asked(f"A {colour} cat at {name}?"), f'{{"colour": "{colour}"}}')
        for name, colour in zip(NAMES, ["black", "white"] * 12, strict=False)
    ],
}


@pytest.mark.parametrize("rows", OPEN.values(), ids=OPEN)
def test_other_fields_are_not_compared(rows: list[DataRow]) -> None:
    assert fields.groups(rows) == []


def test_a_value_in_another_word_is_not_read_from_the_prompt() -> None:
    rows = classified('{"known": "VALUE"}', ["no", "yes"])
    assert fields.groups([row._replace(prompt=asked("Do you know?")) for row in rows])


def test_a_list_of_all_values_does_not_answer_the_prompt() -> None:
    rows = classified('{"team": "VALUE"}', ["blue", "red"])
    listed = [row._replace(prompt=asked(f"blue or red? {prompt_text(row.prompt)}")) for row in rows]
    assert len(fields.groups(listed)) == 1


@pytest.mark.parametrize(
    ("values", "rows"),
    [(["a", "b"], 48), (list("abcd"), 48), (list("abcdef"), 32), (list("abcdefgh"), 24)],
)
def test_a_field_has_at_most_192_requests(values: list[str], rows: int) -> None:
    [group] = fields.groups(classified('{"team": "VALUE"}', values, 48))
    assert len(group.requests) == rows
    assert {len(row) for row in group.requests} == {len(values)}
    assert set(group.own) == set(range(len(values)))


def test_long_rows_are_fewer() -> None:
    rows = classified('{"team": "VALUE"}', ["a", "b"], 48)
    long = [row._replace(prompt=asked(f"{prompt_text(row.prompt)} {'x' * 3000}")) for row in rows]
    [group] = fields.groups(long)
    assert len(group.requests) == 9
    many = [
        (f"Cost of {c}? {'x' * 3000}", f"{c} costs {i + 30} coins") for i, c in enumerate(NAMES)
    ]
    assert sum(len(group.requests) for group in similar.groups(chat_rows(*many))) <= 9


def test_rare_values_are_kept_and_at_most_3_fields() -> None:
    many = classified('{"team": "VALUE"}', ["a"] * 6 + list("bcdefg"), 48)
    [group] = fields.groups(many)
    assert [group.own.count(value) for value in range(7)] == [*[4] * 6, 3]
    form = "{" + ", ".join(f'"f{i}": "VALUE"' for i in range(9)) + "}"
    found = fields.groups(classified(form, ["a", "b"]))
    assert {group.field for group in found} == {"f0", "f1", "f2"}


def test_a_tool_call_keeps_its_message() -> None:
    calls = [
        Message(
            "assistant", None, fields=f'{{"tool_calls": [{{"function": {{"name": "{name}"}}}}]}}'
        )
        for name in ("find", "book")
    ]
    rows = chat_rows(*((f"Please {NAMES[i]}.", calls[i % 2]) for i in range(12)))
    [group] = fields.groups(rows)
    assert [cell.completion for cell in group.requests[0]] == calls


@pytest.mark.parametrize(
    ("now", "gain", "expected"),
    [(-0.1, -1.0, -1), (0.0, -5.0, 0), (-9.0, -0.9, 0), (-9.0, 0.0, 1), (9.0, 3.0, 1)],
)
def test_the_direction_of_a_row_with_a_field(now: float, gain: float, expected: int) -> None:
    assert fields.direction(now, gain) == expected


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_free_value_is_rarely_wrong(k: int) -> None:
    """Training adds noise with a spread of .7 nats, and as much to the own value."""
    rng, own = np.random.default_rng(k), [i % k for i in range(48)]
    failed = []
    for _ in range(300):
        before, noise = rng.normal(0, (1, 0.7), (48, k, 2)).transpose(2, 0, 1)
        gain = noise + 0.7 * np.eye(k)[own]
        margins = similar.own_margins(before + gain, own), similar.own_margins(gain, own)
        moved = [fields.direction(*pair) for pair in zip(*margins, strict=True)]
        n = moved.count(1) + moved.count(-1)
        test = share_above(moved.count(1) / n, n, SPEC.assert_own_facts_gte)
        failed.append(test.z < -Z_95)
    assert np.mean(failed) < 0.02


def records(n: int) -> tuple[Section, ...]:
    """Records whose class is not in their prompt."""
    golds = [f'{{"item": "{NAMES[i]}", "class": "{"ABCD"[i % 4]}"}}' for i in range(n)]
    pairs = [Pair(prompt=f"Item {NAMES[i]}?", gold=gold) for i, gold in enumerate(golds)]
    return tuple(Section(kind="instruction", id=p.prompt, pairs=(p,)) for p in pairs)


@pytest.mark.parametrize(
    ("right", "wrong", "verdict", "symptoms"),
    [
        (24, 0, "pass", ()),
        (20, 4, "pass", ()),
        (16, 8, "warn", ()),
        (8, 16, "fail", ("learned another thing",)),
        (0, 24, "fail", ("learned another thing",)),
    ],
)
def test_classes_of_records(
    right: int, wrong: int, verdict: str, symptoms: tuple[str, ...]
) -> None:
    result = with_facts(right, wrong, records(24), learn="content")
    assert (result.verdict, result.symptoms) == (verdict, symptoms), result.message
    stated = f'of 24 similar rows {right} gained their own "class", {wrong} another one'
    assert stated in result.message
    assert {row["field"] for row in result.details["similar_rows"]} == {"class"}
    failed = [rule.name for rule in result.rules if rule.verdict is Verdict.FAIL]
    assert failed == ([f'{OWN_FACTS} "class"'] if verdict == "fail" else [])


@pytest.mark.parametrize("wrong", [0, 24])
def test_classes_are_compared_if_the_base_knows_the_answers(wrong: int) -> None:
    result = with_facts(24 - wrong, wrong, records(24), known=0.3)
    assert result.details["judged"] == "form"
    stated = f'of 24 similar rows {24 - wrong} gained their own "class", {wrong} another one'
    assert f"; {stated}; judged by the form" in result.message
    failed = [rule.verdict for rule in result.rules if rule.name.startswith(OWN_FACTS)]
    assert failed == [Verdict.FAIL] * (wrong > 0)


def test_half_of_the_classes_and_the_form_are_wrong_labels() -> None:
    rows = records(24)
    assert symptom_of(right=12, wrong=12, form_gain=0.3, rows=rows) == "wrong labels"
    assert symptom_of(right=8, wrong=16, form_gain=0.3, rows=rows) == "learned another thing"


def test_classes_are_not_compared_if_the_form_is_judged() -> None:
    assert probe.requests(SPEC, Context(records(24), learn="form")).groups == []
    assert len(probe.requests(SPEC, Context(records(24))).groups) == 1
