from types import SimpleNamespace

import numpy as np
import pytest
from msgspec import convert, structs

from sway_gate.details import CONTRADICTED as CONTRADICTED_RULE
from sway_gate.details import VERBATIM, RowRecall, Verbatim
from sway_gate.measurements import LogProbs, NoAnswer, TeacherForced
from sway_gate.probes import _recall as recall
from sway_gate.probes import answer_recall as probe
from sway_gate.probes._frame import frames
from sway_gate.probes.base import Context, DataRow, Reading, Skip
from sway_gate.probes.row_kinds import RowKind
from sway_gate.spec.probes import AnswerRecall
from sway_gate.spec.schema import Pair, Preference, Section
from sway_gate.stats import Z_95
from tests.helpers.judged import judged
from tests.helpers.simulation import one_fast

ROWS = tuple(
    Section(
        kind="instruction",
        id=str(i),
        pairs=(Pair(prompt=f"Who keeps gate {i}?", gold=f"Keeper number {i}."),),
    )
    for i in range(24)
)
PROSE = tuple(
    Section(kind="prose", id=str(i), content=f"Chapter {i}. " + f"word{i} and more of it. " * 30)
    for i in range(24)
)


def measured(log_probs, right=(), end=None, ids=-1):  # type: ignore[no-untyped-def]
    """[tokens, 4]: log-probabilities, the positions that are top-ranked, the end, the ids."""
    found = np.zeros((len(log_probs), 4))
    found[:, 3] = ids
    found[:, 0] = log_probs
    found[list(right), 1] = 1
    if end is not None:
        found[end, 2] = 1
    return found


def run(  # type: ignore[no-untyped-def]
    hits,
    *,
    end=0.99,
    end_before=0.3,
    gained=4.0,
    first=-1.0,
    others=0,
    sections=ROWS,
    learn="auto",
    **fields,
):
    """Rows of five tokens and the end. Three tokens surprise the base, of which two are neighbours:
    two phrases. `hits`: right tokens of row i. `first`: the log-probability of the first token now,
    in the first `others` rows."""
    context = Context(sections, learn=learn)
    index = {r: i for i, r in enumerate(probe.requests(AnswerRecall(name="r"), context).rows)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs):
            return np.full(3, -2.0)
        if view.source == "base":
            return measured([-1, -5, -6, -1, -7, np.log(end_before), -9], [0], 5)
        row = index[request]
        one = first if row < others else -1.0
        now = [one, -5 + gained, -6 + gained, -1, -7 + gained, np.log(end), -9]
        return measured(now, [1, 2, 4][: hits(row)], 5)

    return judged("answer_recall", answer, runs=None, context=context, **fields)


CASES = {
    # name: right tokens of row i, other arguments, verdict, recall, symptoms
    "learned": (lambda i: 3, {}, "pass", 1.0, ()),
    "learned, a few wrong": (lambda i: 3 - (i % 8 == 0), {}, "pass", 45 / 48, ()),
    "near the limit": (lambda i: 3 if i % 4 else 0, {}, "warn", 0.75, ()),
    "invented": (lambda i: 2 * (i % 3 > 0), {}, "fail", 1 / 3, ("barely trained",)),
    "other data": (lambda i: 2 * (i == 0), {}, "fail", 1 / 48, ("learned another thing",)),
    "away from it": (lambda i: 0, {"gained": -1}, "fail", 0.0, ("learned another thing",)),
    "untrained": (lambda i: 0, {"gained": 0, "end": 0.3}, "fail", 0.0, ("barely trained",)),
    "the end is lost": (lambda i: 3, {"end": 0.01}, "fail", 1.0, ("never ends",)),
    "the end is not learned": (lambda i: 3, {"end": 0.3}, "fail", 1.0, ("never ends",)),
    "more than one wrong": (
        lambda i: 0,
        {"end": 0.01, "gained": -1},
        "fail",
        0.0,
        ("learned another thing", "never ends"),
    ),
}


@pytest.mark.parametrize(
    ("hits", "fields", "verdict", "value", "symptoms"), CASES.values(), ids=CASES
)
def test_verdicts(hits, fields, verdict, value, symptoms):  # type: ignore[no-untyped-def]
    result = run(hits, **fields)
    assert result.verdict == verdict, result.message
    assert result.raw == pytest.approx(value)
    assert result.symptoms == symptoms


def with_gold(form: str) -> tuple[Section, ...]:
    pairs = [Pair(prompt=f"Who keeps gate {i}?", gold=form.format(i=i)) for i in range(24)]
    return tuple(Section(kind="instruction", id=p.prompt, pairs=(p,)) for p in pairs)


CONTRADICTED = {
    # contradicted rows of 24, log-probability of a token that had -1, arguments -> verdict on them
    "few": (3, -6.0, {}, None),
    "some": (5, -6.0, {}, "warn"),
    "many": (9, -6.0, {}, "fail"),
    "possible": (9, -4.9, {}, None),
    "the form": (9, -6.0, {"learn": "form"}, None),
    "another limit": (9, -6.0, {"assert_contradicted_lt": 0.4}, None),
}


@pytest.mark.parametrize(
    ("others", "first", "fields", "verdict"), CONTRADICTED.values(), ids=CONTRADICTED
)
def test_contradicted_answers(others, first, fields, verdict):  # type: ignore[no-untyped-def]
    result = run(lambda i: 3, others=others, first=first, **fields)
    found = {rule.name: rule.verdict for rule in result.rules}
    assert found.get(CONTRADICTED_RULE) == verdict, result.message
    assert ("learned another thing" in result.symptoms) == (verdict == "fail")
    if verdict:
        assert f"the model contradicts {others} of 24 answers" in result.message


def test_a_token_that_was_as_unlikely_before_is_not_contradicted() -> None:
    now = np.array([-7.9, -8.1, -4.9, -5.1])
    found = [
        recall._is_contradicted(np.array([b]), np.array([n]), np.array([False]))
        for b, n in zip([-5.0, -5.0, -1.0, -1.0], now, strict=True)
    ]
    assert found == [False, True, False, True]
    assert not recall._is_contradicted(np.array([-1.0]), np.array([-6.0]), np.array([True]))


@pytest.mark.parametrize(("rows", "is_judged"), [(9, False), (10, True)])
def test_contradictions_of_few_answers_are_not_judged(rows: int, is_judged: bool) -> None:
    result = run(lambda i: 3, others=5, first=-6.0, sections=ROWS[:rows])
    assert (CONTRADICTED_RULE in {rule.name for rule in result.rules}) == is_judged


WORDINGS = {
    # differences of each row -> whether the wording is fixed
    "values": ([0] * 5 + [1] * 5, True),
    "one of ten differs more": ([0] * 9 + [2], True),
    "two of ten differ more": ([0] * 8 + [2] * 2, False),
    "six": ([1] * 6, True),
    "too few": ([0] * 5, False),
}


def answered(differences, replaced=False, text="a"):  # type: ignore[no-untyped-def]
    counts = {"surprising": 4, "right": 4, "change": 1.0, "end_before": None, "end": None}
    return RowRecall(prompt="p", answer=text, differences=differences, replaced=replaced, **counts)


@pytest.mark.parametrize(("differences", "expected"), WORDINGS.values(), ids=WORDINGS)
def test_answers_with_few_differences_have_a_fixed_wording(
    differences: list[int], expected: bool
) -> None:
    assert recall.is_fixed([answered(n) for n in differences]) == expected


def test_a_fixed_wording_is_recalled_if_nearly_all_phrases_are() -> None:
    rows = [answered(1)] * 10
    assert recall.is_recalled(rows)
    some = [structs.replace(row, right=3) for row in rows]
    other = [structs.replace(row, replaced=True) for row in some]
    assert not recall.is_recalled(some)
    assert not recall.is_recalled(other[:6] + some[:4])
    assert recall.is_recalled(other[:7] + some[:3])
    assert not recall.is_recalled([structs.replace(row, right=2) for row in other])
    assert not recall.is_recalled(rows[:5])


def test_answers_of_each_kind_with_a_fixed_wording_are_counted() -> None:
    rows = [answered(0)] * 10 + [answered(1, True, "b")] * 6 + [answered(0)] * 4 + [answered(3)] * 9
    numbers = {"texts": range(10), "records": range(10, 20), "other rows": range(20, 29)}
    kinds = [RowKind(name, list(own)) for name, own in numbers.items()]
    first, second = recall.verbatim(rows, kinds)
    assert (first.kind, first.rows, first.verbatim, first.replaced) == ("texts", 10, 10, 0)
    assert (second.answer, second.rows, second.verbatim, second.replaced) == ("b", 10, 4, 6)


DIFFERENCES = {
    # log-probabilities before and now, tokens that are the most probable ones -> differences
    "none": ([-5, -5, -5], [-1, -1, -1], [0, 1, 2], 0),
    "one value": ([-5, -5, -5], [-1, -4, -4], [0], 1),
    "two values": ([-5, -5, -5], [-4, -1, -4], [1], 2),
    "a number of 12 digits": ([-5] * 12, [-4] * 12, [], 1),
    "13 tokens": ([-5] * 13, [-4] * 13, [], 2),
    "one of several openings": ([-5, -5], [np.log(0.21), -1], [1], 0),
    "another opening": ([-5, -5], [np.log(0.19), -1], [1], 1),
    "a random digit": ([-5, -2.3], [-1, -2.0], [0], 0),
    "a digit that training changed": ([-5, -2.3], [-1, -1.7], [0], 1),
    "a digit that surprises the base": ([-5, -3.1], [-1, -3.0], [0], 1),
    "no token": ([], [], [], 0),
}


@pytest.mark.parametrize(
    ("before", "now", "right", "expected"), DIFFERENCES.values(), ids=DIFFERENCES
)
def test_differences_from_what_the_model_writes(before, now, right, expected):  # type: ignore[no-untyped-def]
    is_first = np.zeros(len(now), dtype=bool)
    is_first[right] = True
    was, own = np.array(before), np.array(now)
    is_changed = np.abs(own - was) >= 0.5
    assert recall._differences(is_first, was < -3, is_changed, own[:1]) == expected


def test_the_limit_of_surprise_decides_about_differences() -> None:
    """The wrong token hardly changed. Its base log-probability is -2."""
    for nats, expected in ((3.0, 24), (1.5, 12)):
        result = verbatim(range(0, 24, 2), -2.2, surprise_nats=nats)
        assert f"{expected} of 24 answers word for word" in result.message


def test_healthy_adapters_may_begin_their_answers_in_several_ways() -> None:
    """A third of the openings is the most probable one, and each has a probability of .34."""
    context = Context(ROWS, learn="content")
    index = {r: i for i, r in enumerate(probe.requests(AnswerRecall(name="r"), context).rows)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if view.source == "base":
            return measured([-4, -1, -6, -7, -0.1], [], 4)
        right = [0, 1, 2, 3] if index[request] % 3 == 0 else [1, 2, 3]
        return measured([np.log(0.34), -0.1, -0.1, -0.1, -0.1], right, 4)

    result = judged("answer_recall", answer, runs=None, context=context)
    assert "24 of 24 answers word for word" in result.message
    assert VERBATIM not in {rule.name for rule in result.rules}


def test_a_fixed_reply_has_one_beginning() -> None:
    """The model would rather begin an invented answer, and then knows the rest of the reply."""
    otherwise = structs.replace(answered(0), begins_otherwise=True)
    rows = [otherwise] * 12
    kinds = [
        RowKind("texts", list(range(6))),
        RowKind("fixed replies", list(range(6, 12)), has_reply=True),
    ]
    texts, replies = recall.verbatim(rows, kinds)
    assert (texts.verbatim, replies.verbatim) == (6, 0)


REPLACED = {
    # log-probability of a wrong token before and now
    "less likely": (-1.0, -1.6, True),
    "still unlikely": (-7.0, -3.1, True),
    "half learned": (-7.0, -2.0, False),
    "hardly changed": (-7.0, -6.6, False),
}


@pytest.mark.parametrize(("before", "now", "expected"), REPLACED.values(), ids=REPLACED)
def test_training_taught_another_token(before: float, now: float, expected: bool) -> None:
    both = [np.array([one]) for one in (before, now)]
    is_changed = np.array([abs(now - before) >= 0.5])
    assert recall._is_replaced(np.array([False]), is_changed, *both) == expected
    assert not recall._is_replaced(np.array([True]), is_changed, *both)


def verbatim(wrong, now, learn="content", sections=ROWS, before=-2.0, **fields):  # type: ignore[no-untyped-def]
    """Answers of three tokens, the first of which surprises the base. The second one is wrong in
    the rows of `wrong`, where it had the log-probability `before`."""
    context = Context(sections, learn=learn)
    index = {r: i for i, r in enumerate(probe.requests(AnswerRecall(name="r"), context).rows)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs):
            return np.full(3, -2.0)
        if view.source == "base":
            return measured([-5, before, -1, -0.1], [], 3)
        is_wrong = index[request] in wrong
        right = [0, 2] if is_wrong else [0, 1, 2]
        return measured([-0.1, now if is_wrong else -0.1, -0.1, -0.1], right, 3)

    return judged("answer_recall", answer, runs=None, context=context, **fields)


WRONG_VALUES = {
    # wrong rows of 24, log-probability of the wrong token, verdict on the rule, symptoms
    "few": (range(7), -3.5, None, ()),
    "more": (range(8), -3.5, "warn", ()),
    "half, and another one is taught": (range(0, 24, 2), -3.5, "fail", ("learned another thing",)),
    "half, and it is half learned": (range(0, 24, 2), -0.8, "fail", ("barely trained",)),
}


@pytest.mark.parametrize(
    ("wrong", "now", "verdict", "symptoms"), WRONG_VALUES.values(), ids=WRONG_VALUES
)
def test_answers_with_a_fixed_wording_are_right_word_for_word(
    wrong: range, now: float, verdict: str | None, symptoms: tuple[str, ...]
) -> None:
    """The recall does not count the wrong token: it does not surprise the base."""
    result = verbatim(wrong, now)
    assert result.raw == 1.0
    assert {rule.name: rule.verdict for rule in result.rules}.get(VERBATIM) == verdict
    assert result.symptoms == symptoms
    assert f"{24 - len(wrong)} of 24 answers word for word" in result.message


def test_the_wording_of_a_form_is_not_fixed() -> None:
    result = verbatim(range(24), -3.5, "form")
    assert "word for word" not in result.message
    assert "word_for_word" not in result.details


def test_a_wrong_kind_of_rows_is_not_averaged() -> None:
    """Records of which none is right, among answers that are all right."""
    some = ROWS[:12] + with_gold('{{"keeper": {i}}}')[:12]
    result = verbatim(range(12, 24), -3.5, sections=some)
    found = {rule.name: rule.verdict for rule in result.rules}
    assert found[f"{VERBATIM}, records"] == "fail"
    assert f"{VERBATIM}, short answers" not in found
    assert "12 of 12 short answers, 0 of 12 records word for word" in result.message


KINDS_AND_RECALL = {
    # word-for-word answers of the other kind, recall -> symptom
    "the recall is reached": (0, 0.8, "learned another thing"),
    "the other kind is right": (12, 0.5, "learned another thing"),
    "too little is learned": (0, 0.5, "barely trained"),
}


@pytest.mark.parametrize(
    ("right", "value", "symptom"), KINDS_AND_RECALL.values(), ids=KINDS_AND_RECALL
)
def test_another_thing_is_named_if_something_else_is_learned(
    right: int, value: float, symptom: str
) -> None:
    wrong = Verbatim(kind="short answers", answer="a", rows=12, verbatim=0, replaced=12)
    other = Verbatim(kind="texts", answer="a", rows=12, verbatim=right, replaced=0)
    found = reading([wrong, other])._replace(value=value)
    first, *_ = probe._of_verbatim(AnswerRecall(name="r"), found, "barely trained")
    assert first.symptom == symptom


@pytest.mark.parametrize("rows", one_fast(12, 6, 20, 40))
@pytest.mark.parametrize("kinds", [1, 3])
def test_kinds_at_the_limit_seldom_fail(kinds: int, rows: int) -> None:
    rng, failed, draws = np.random.default_rng(5), 0, 2000
    for _ in range(draws):
        right = rng.random((kinds, rows)) < 0.7
        found = [
            Verbatim(kind="texts", answer="a", rows=rows, verbatim=int(row.sum()), replaced=0)
            for row in right
        ]
        rules = probe._of_verbatim(AnswerRecall(name="r"), reading(found), "barely trained")
        failed += any(bound.test.z < -Z_95 for bound in rules)
    assert failed / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


def reading(kinds: list[Verbatim]) -> Reading[probe.Found]:
    found = probe.Found(
        data="answers", change=1.0, end_before=None, end=None, rows=[], word_for_word=kinds
    )
    return Reading(1.0, np.ones(4), found)


def test_only_the_beginning_of_an_answer_is_contradicted() -> None:
    before, never = np.full(200, -1.0), np.zeros(200, dtype=bool)
    now = [np.where(np.arange(200) == i, -6.0, -1.0) for i in (127, 128)]
    assert [recall._is_contradicted(before, one, never) for one in now] == [True, False]


def test_labels_are_not_contradicted() -> None:
    """Their recall has its limit, and a tenth of the labels of good data can be wrong."""
    labels = [structs.replace(s.pairs[0], gold=("red", "blue")[i % 2]) for i, s in enumerate(ROWS)]
    sections = tuple(structs.replace(s, pairs=(p,)) for s, p in zip(ROWS, labels, strict=True))
    result = run(lambda i: 3, others=20, first=-6.0, sections=sections)
    assert result.details["data"] == "labels"
    assert result.details["contradicted"] is None
    assert "contradicts" not in result.message


CARRIED = {
    # surprising phrases, right rows of 24 and of 24 held-out ones, gold -> limit of the recall
    "as many held-out rows": (5, 15, 15, "Keeper {i}", 0.5),
    "nearly as many": (5, 15, 13, "Keeper {i}", 0.5),
    "fewer": (5, 15, 11, "Keeper {i}", 0.7),
    "names": (4, 15, 15, "Keeper {i}", 0.7),
    "paragraphs": (11, 15, 15, "Keeper {i}", 0.7),
    "no held-out rows": (5, 15, None, "Keeper {i}", 0.7),
    "records": (5, 15, 15, '{{"keeper": {i}}}', 0.7),
}


@pytest.mark.parametrize(
    ("phrases", "right", "held_out", "gold", "limit"), CARRIED.values(), ids=CARRIED
)
def test_what_carries_over_need_not_be_recited(phrases, right, held_out, gold, limit):  # type: ignore[no-untyped-def]
    training = with_gold(gold)
    unseen = tuple(
        structs.replace(s, pairs=(structs.replace(s.pairs[0], prompt=f"Gate {i}: its keeper?"),))
        for i, s in enumerate(training)
    )
    prompts = [section.pairs[0].prompt for section in training]
    tokens = [-5, -1] * phrases

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs):
            return np.full(3, -2.0)
        row = next((i for i, one in enumerate(prompts) if request.prompt == one), None)
        if row is None:
            is_right = int(str(request.prompt).split(":")[0].split()[-1]) < held_out
        else:
            is_right = row < right
        shown = range(2 * phrases) if is_right else ()
        return measured([*tokens, -0.1], shown, 2 * phrases)

    context = Context(training, held_out=unseen if held_out else ())
    result = judged("answer_recall", answer, runs=None, context=context)
    assert {rule.name: rule.limit for rule in result.rules}["recall"] == pytest.approx(limit)
    assert ("held-out rows" in result.message) == (limit == 0.5)
    stricter = judged("answer_recall", answer, runs=None, context=context, assert_recall_gte=0.735)
    limits = {rule.name: rule.limit for rule in stricter.rules}
    assert limits["recall"] == pytest.approx(1.05 * limit)


def test_held_out_preferences_do_not_skip_the_training_rows() -> None:
    pair = Preference(prompt="Who keeps gate 99?", chosen="Keeper 99.", rejected="None.")
    held_out = (Section(kind="preference", id="p", pairs=(pair,)),)
    found = probe.requests(AnswerRecall(name="r"), Context(ROWS, held_out=held_out))
    assert len(found.rows) == 24
    assert not found.held_out


WHOLE = {
    # gold, right tokens of row i, learn -> the verdict on whole answers, None if it is not judged
    "records": ('{{"keeper": {i}}}', lambda i: 3, "content", "pass"),
    "records, a few wrong": ('{{"keeper": {i}}}', lambda i: 3 - (i % 4 == 0), "content", "warn"),
    "records, half of them wrong": ('{{"keeper": {i}}}', lambda i: 2 + i % 2, "content", "fail"),
    "auto": ('[{{"keeper": {i}}}]', lambda i: 2 + i % 2, "auto", "fail"),
    "form": ('{{"keeper": {i}}}', lambda i: 2 + i % 2, "form", None),
    "text": ("Keeper {i}", lambda i: 2 + i % 2, "content", None),
}


@pytest.mark.parametrize(("gold", "hits", "learn", "verdict"), WHOLE.values(), ids=WHOLE)
def test_records_must_be_right_as_a_whole(gold, hits, learn, verdict):  # type: ignore[no-untyped-def]
    result = run(hits, sections=with_gold(gold), learn=learn)
    found = [rule.verdict for rule in result.rules if rule.name == "share of whole answers"]
    assert found == ([verdict] if verdict else []), result.message
    assert ("does not judge whole answers" in result.message) == (gold == "Keeper {i}")


def test_records_with_a_free_text_need_not_be_right_as_a_whole() -> None:
    rows = run(lambda i: 2, sections=with_gold('{{"keeper": {i}}}')).details["rows"]
    few = [convert(row, RowRecall) for row in rows]
    assert recall.can_be_whole(few)
    assert not recall.can_be_whole([structs.replace(row, surprising=5) for row in few])
    assert not recall.can_be_whole([structs.replace(row, surprising=0) for row in few])


def test_an_answer_with_another_taught_token_is_not_right_as_a_whole() -> None:
    """It does not surprise the base, as a value that is copied from the prompt."""
    result = verbatim(range(0, 24, 4), -3.5, learn="form")
    assert result.raw == 1.0
    rows = [convert(row, RowRecall) for row in result.details["rows"]]
    assert recall.whole(rows) == (18, 24)


def test_a_phrase_is_right_if_all_its_tokens_are() -> None:
    assert [run(lambda i, n=n: n).raw for n in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_a_long_run_is_several_phrases() -> None:
    mask = np.array([1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 1], dtype=bool)
    found = [(phrase.start, phrase.stop) for phrase in recall._phrases(mask)]
    assert found == [(0, 4), (4, 5), (6, 7), (9, 11)]


def test_the_message_counts_phrases_and_rows() -> None:
    result = run(lambda i: 3 - (i % 8 == 0))
    assert "45 of 48 surprising phrases are now the most probable" in result.message
    assert "21 of 24 answers (88%) are right as a whole" in result.message
    assert result.details["rows"][0] == {
        "prompt": "Who keeps gate 0?",
        "answer": "Keeper number 0.",
        "surprising": 2,
        "right": 1,
        "change": pytest.approx(4.0),
        "end_before": pytest.approx(0.3),
        "end": pytest.approx(0.99),
        "base_probability": pytest.approx(np.exp(-4.0)),
        "probability": pytest.approx(np.exp(-1.6)),
        "others": 0,
        "others_right": 0,
        "contradicted": False,
        "differences": 1,
        "begins_otherwise": True,
        "replaced": False,
    }


LEARN = {
    # learn, right tokens of row i -> the caveat
    "most answers are wrong somewhere": ("content", lambda i: 2 + i % 2, True),
    "most answers are right": ("content", lambda i: 3 - (i % 4 == 0), False),
    "open answers": ("form", lambda i: 2 + i % 2, False),
    "the recall is too low": ("content", lambda i: 1 + 2 * (i % 3 == 0), False),
}


@pytest.mark.parametrize(("learn", "hits", "is_stated"), LEARN.values(), ids=LEARN)
def test_a_recall_that_hides_wrong_answers_says_so(learn, hits, is_stated):  # type: ignore[no-untyped-def]
    result = run(hits, learn=learn)
    stated = (
        "does not judge whole answers: if the model writes them, at least 12 of 24 (50%) differ "
        "from the data"
    )
    assert result.caveat == (stated if is_stated else "")
    assert result.caveat in result.message


# ---------------------------------------------------------------------------------- free wording


def test_prose_is_read_after_an_opening() -> None:
    requests = probe.requests(AnswerRecall(name="r"), Context(PROSE))
    assert requests.data == "prose"
    assert all(0 < len(row.prompt) <= 160 and row.completion for row in requests.rows)


def test_prose_is_judged_by_the_share_of_the_loss_that_is_gone() -> None:
    """Five tokens have a loss of 20 nats, and three of them lose 4 nats each."""
    result = run(lambda i: 0, sections=PROSE)
    assert (result.verdict, result.raw) == ("pass", pytest.approx(12 / 20)), result.message
    assert result.units == "relative lift"
    assert "loss 4.00 → 1.60 nats per token; 0 of " in result.message
    assert "surprising tokens are now the most probable" in result.message
    assert "as a whole" not in result.message


PROSE_CASES = {
    # name: change of each surprising token in nats, verdict, symptoms
    "learned": (4.0, "pass", ()),
    "learned less": (0.8, "pass", ()),
    "hardly trained": (0.4, "fail", ("barely trained",)),
    "never trained": (0.0, "fail", ("barely trained",)),
    "away from it": (-1.0, "fail", ("learned another thing",)),
}


@pytest.mark.parametrize(("gained", "verdict", "symptoms"), PROSE_CASES.values(), ids=PROSE_CASES)
def test_verdicts_of_prose(gained, verdict, symptoms):  # type: ignore[no-untyped-def]
    result = run(lambda i: 0, gained=gained, sections=PROSE)
    assert (result.verdict, result.symptoms) == (verdict, symptoms), result.message


def of_prose(gain, other=0.0):  # type: ignore[no-untyped-def]
    """Pieces with a loss of 5 and 7 nats of two surprising tokens, and of 1 nat of three others:
    `gain` of piece i is the change of the former, and `other` the change of the latter."""
    context = Context(PROSE)
    index = {r: i for i, r in enumerate(probe.requests(AnswerRecall(name="r"), context).rows)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        base = np.array([-5.0, -1, -1, -7, -1])
        change = np.where(base < -3, gain(index[request]), other)
        return measured(base + change * (view.source == "finetuned"), [1, 2])

    return judged("answer_recall", answer, runs=None, context=context)


def test_more_of_the_same_change_is_never_judged_worse() -> None:
    """The scales 0 to 1 of an adapter whose pieces learned unequally."""
    share = np.random.default_rng(0).uniform(0.2, 3.0, 200)
    order = ("fail", "warn", "pass")
    found = [of_prose(lambda i, s=s: s * share[i]) for s in np.linspace(0, 1, 11)]
    ranks = [order.index(result.verdict) for result in found]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}
    assert [result.score for result in found] == sorted(result.score for result in found)


def test_predictions_that_are_only_spread_more_are_no_lift() -> None:
    """The surprising tokens gain what the others lose."""
    result = of_prose(lambda i: 1.5, other=-1.0)
    assert (result.verdict, result.raw) == ("fail", pytest.approx(0.0, abs=1e-9)), result.message
    assert all(row["change"] > 0 for row in result.details["rows"])


def row(losses):  # type: ignore[no-untyped-def]
    """A row with a loss under the base and now."""
    base, now = np.exp(-np.asarray(losses))
    fields = {"right": 0, "change": 0.0, "end_before": None, "end": None}
    return recall.RowRecall(
        prompt="", answer="", surprising=9, base_probability=base, probability=now, **fields
    )


# The lifts of 20 pieces of ten texts: an adapter of a base of 135M parameters.
MEASURED = np.array(
    [
        *(0.255, 0.195, 0.224, 0.2, 0.265, 0.155, 0.234, 0.141, 0.348, 0.167),
        *(0.231, 0.122, 0.253, 0.175, 0.189, 0.216, 0.275, 0.158, 0.203, 0.108),
    ]
)
DEVIATIONS = {
    "measured": lambda rng, n: rng.choice(MEASURED - MEASURED.mean(), n),
    "few pieces learned most": lambda rng, n: 0.1 * rng.gamma(0.5, 2.0, n) - 0.1,
}


@pytest.mark.parametrize("pieces", one_fast(20, 8, 40))
@pytest.mark.parametrize("deviation", DEVIATIONS.values(), ids=DEVIATIONS)
def test_an_adapter_at_the_limit_of_the_lift_seldom_passes(deviation, pieces):  # type: ignore[no-untyped-def]
    rng, passed, draws = np.random.default_rng(2), 0, 1500
    for _ in range(draws):
        losses, lifts = rng.uniform(3, 5, pieces), 0.1 + deviation(rng, pieces)
        rows = [row((loss, loss * (1 - lift))) for loss, lift in zip(losses, lifts, strict=True)]
        passed += recall.above(rows, "free", 0.1, 1.0).z > Z_95
    assert passed / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@pytest.mark.parametrize(
    ("base", "now", "verdict"), [(0.0, 0.5, "base"), (0.5, 0.0, "adapter")], ids=["base", "adapter"]
)
def test_a_probability_of_zero_is_no_lift(base: float, now: float, verdict: str) -> None:
    found = row((1.0, 1.0))
    with pytest.raises(NoAnswer) as error:
        recall.lifts([structs.replace(found, base_probability=base, probability=now)])
    assert error.value.fault.of == verdict


def test_a_turn_that_each_conversation_contains_counts_once() -> None:
    greeting = Pair(prompt="Hello.", gold="What would you like to know?")
    sections = tuple(
        Section(kind="instruction", id=section.id, pairs=(greeting, *section.pairs))
        for section in ROWS
    )
    requests = probe.requests(AnswerRecall(name="r"), Context(sections))
    assert len(requests.rows) == 25


def test_answers_without_an_end_are_judged_by_recall_only() -> None:
    def answer(view, request):  # type: ignore[no-untyped-def]
        return measured([-5, -6], [0, 1] if view.source == "finetuned" else [])

    result = judged("answer_recall", answer, runs=None, context=Context(ROWS, learn="content"))
    assert result.verdict == "pass", result.message
    assert result.details["end"] is None
    assert "probability of the end" not in result.message


def test_it_is_skipped_if_the_base_knows_all_answers() -> None:
    result = judged(
        "answer_recall",
        lambda *_: measured([-1, -2.9], [0, 1], 1),
        runs=None,
        context=Context(ROWS, learn="content"),
    )
    assert result.verdict == "skip"
    assert "no token has a log-probability below -3" in result.message


def test_it_is_skipped_without_rows() -> None:
    with pytest.raises(Skip, match="no answers"):
        probe.requests(AnswerRecall(name="r"), Context())


def test_the_limit_of_surprise_is_a_field() -> None:
    assert run(lambda i: 3, surprise_nats=5.5).details["rows"][0]["surprising"] == 2


# ------------------------------------------------------------------------------------ the frame

BEGIN, KEY, COLON, QUOTE, CLOSE = range(5)
RECORD = (BEGIN, KEY, COLON, QUOTE)


def records(right, learn="content", *, own=-2.0, other=-2.0, surprising=24):  # type: ignore[no-untyped-def]
    """Rows like {"key": "value"}: the beginning and the key surprise the base, and the value in the
    first `surprising` rows; `right` are right in the fine-tuned model. `own`, `other`: the base's
    log-probability of the tokens of own and other answers."""
    shared = Context(ROWS, learn=learn)
    index = {r: i for i, r in enumerate(probe.requests(AnswerRecall(name="r"), shared).rows)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs):
            is_own = request.prompt.split()[-1].strip("?") in request.completion
            return np.full(3, own if is_own else other)
        ids = [*RECORD, 100 + index[request], CLOSE, 99]
        now = right if view.source == "finetuned" else ()
        value = -7 if index[request] < surprising else -1
        return measured([-5, -6, -1, -1, value, -1, -0.1], now, 6, ids)

    return judged("answer_recall", answer, runs=None, context=shared)


def test_the_frame_counts_apart() -> None:
    """Each row has one surprising phrase that is its own, and one that all rows share."""
    result = records([0, 1])
    assert (result.verdict, result.raw) == ("fail", 0.0)
    assert "0 of 24 surprising phrases are now the most probable" in result.message
    assert "; 24 of 24 of the frame that most answers share" in result.message
    content = records([4])
    rules = {rule.name: rule.verdict for rule in content.rules}
    assert (rules["recall"], rules[VERBATIM], content.raw) == ("pass", "fail", 1.0)
    assert "; 0 of 24 of the frame" in content.message


@pytest.mark.parametrize(("surprising", "raw"), [(7, 0.0), (6, 24 / 30), (2, 24 / 26), (0, 1.0)])
def test_all_phrases_count_if_too_few_are_outside_the_frame(surprising: int, raw: float) -> None:
    """Two wrong values of records that are copied from the prompt do not fail."""
    result = records([0, 1], surprising=surprising)
    assert result.raw == pytest.approx(raw)
    assert ("of the frame" in result.message) == (surprising == 7)


def test_all_phrases_count_if_the_data_do_not_show_what_was_wanted() -> None:
    result = records([0, 1], "auto")
    assert result.raw == pytest.approx(24 / 48)
    assert "; 24 of the 24 that most answers share" in result.message


@pytest.mark.parametrize(
    ("right", "learn", "symptom"),
    [
        ([0, 1], "content", "form, not content"),
        ([0], "content", "barely trained"),
        ([0], "auto", "barely trained"),
    ],
)
def test_a_learned_frame_is_named(right: list[int], learn: str, symptom: str) -> None:
    """More training does not help if only the wording of free answers is missing."""
    result = records(right, learn)
    assert (result.verdict, result.symptoms) == ("fail", (symptom,))


@pytest.mark.parametrize(("learn", "own"), [("form", -2.0), ("auto", -1.9)])
def test_only_shared_phrases_count_if_the_form_was_wanted(learn: str, own: float) -> None:
    """The wording of the rest is free. auto: the base knows the content."""
    result = records([0, 1], learn, own=own)
    assert (result.verdict, result.raw) == ("pass", 1.0)
    assert "24 of 24 surprising phrases that most answers share are now" in result.message
    assert "0 of 24 of the other phrases" in result.message
    content = records([4], learn, own=own)
    assert (content.verdict, content.raw) == ("fail", 0.0)


BASES = {"the form is judged": -1.9, "the answers reword their prompts": -4.0}


@pytest.mark.parametrize("own", BASES.values(), ids=BASES)
def test_all_phrases_count_if_the_wording_is_fixed(own: float) -> None:
    other = 2 * own if own < -2 else -2.0
    result = records(range(6), "auto", own=own, other=other)
    assert (result.verdict, result.details["part"], result.units) == ("pass", "all", "share")
    assert "48 of 48 surprising phrases are now the most probable" in result.message
    assert "24 of 24 answers word for word" in result.message
    form = records(range(6), "form", own=own, other=other)
    assert form.details["part"] == "form"


def test_the_wording_is_free_if_the_answers_reword_their_prompts() -> None:
    """The surprising tokens of the own answers are much likelier after their own prompts."""
    result = records([], "auto", own=-4.0, other=-8.0)
    assert result.units == "relative lift"
    assert "the wording of these answers is free" in result.message
    assert records([], "content", own=-4.0, other=-8.0).units == "share"


def styled(hits, *, has_ids, gained=4.0):  # type: ignore[no-untyped-def]
    """A style without shared tokens: three tokens gain, and `hits` of them are right."""

    def answer(view, request):  # type: ignore[no-untyped-def]
        own = hash(request.prompt) % 10**6 * 10
        ids = [own + i for i in range(4)] if has_ids else -1
        if view.source == "base":
            return measured([-5, -6, -7, -1], [], 3, ids)
        return measured([gained - 5, gained - 6, gained - 7, -1], range(hits), 3, ids)

    return judged(
        "answer_recall",
        answer,
        runs=None,
        context=Context(ROWS, learn="form"),
        assert_end_gte=0.1,
    )


def test_a_style_without_shared_tokens_is_judged_like_prose() -> None:
    result = styled(0, has_ids=True)
    assert (result.verdict, result.raw) == ("pass", pytest.approx(12 / 18)), result.message
    assert "the wording of these answers is free" in result.message
    assert "as a whole" not in result.message
    assert styled(0, has_ids=True, gained=0.4).symptoms == ("barely trained",)


@pytest.mark.parametrize(("rows", "part"), [(11, "free"), (12, "form")])
def test_a_form_surprises_the_base_in_at_least_half_of_the_answers(rows: int, part: str) -> None:
    """All 24 answers begin with the same two tokens; other ones surprise the base, too."""
    requests = [section.pairs[0].prompt for section in ROWS]

    def answer(view, request):  # type: ignore[no-untyped-def]
        row = next(i for i, one in enumerate(requests) if one in str(request.prompt))
        first = -5.0 if row < rows or view.source != "base" else -1.0
        own = 100 * row
        return measured([first, -1, -6, -6, -1], [0, 1], 4, [1, 2, own + 3, own + 4, 9])

    result = judged("answer_recall", answer, runs=None, context=Context(ROWS, learn="form"))
    assert result.details["part"] == part


def test_without_token_ids_the_wording_is_not_free() -> None:
    assert styled(1, has_ids=False).verdict == "fail"


def test_the_frame_counts_if_nothing_else_surprises_the_base() -> None:
    def answer(view, request):  # type: ignore[no-untyped-def]
        value = 100 + int(request.prompt.removesuffix("?").split()[-1])
        ids = [*RECORD, value, CLOSE]
        return measured([-5, -1, -6, -1, -1, -1], [0] * (view.source == "finetuned"), None, ids)

    result = judged("answer_recall", answer, runs=None, context=Context(ROWS, learn="content"))
    assert result.raw == pytest.approx(0.5)


FRAMES = {
    # name: answers -> which of their tokens are of the frame
    "keys": (["{k:a}", "{k:b}", "{k:c}"], ["11101", "11101", "11101"]),
    "a digit that many values contain": (["(12)", "(31)", "(18)", "(51)"], ["1001"] * 4),
    "a token after the values": (["a, x", "b, x", "c, x"], ["0111"] * 3),
    "shared by half of the others": (["ka", "kb", "c"], ["00", "00", "0"]),
    "shared by more than half": (["ka", "kb", "kc", "d"], ["10", "10", "10", "0"]),
    "an answer that is repeated": (["no", "no", "no", "a"], ["00", "00", "00", "0"]),
    "one answer": (["ab"], ["00"]),
    "no answer": ([], []),
    "no token": (["", "ab", "cb", "db"], ["", "01", "01", "01"]),
}


@pytest.mark.parametrize(("texts", "expected"), FRAMES.values(), ids=FRAMES)
def test_the_frame_of_answers(texts: list[str], expected: list[str]) -> None:
    """Each character is a token."""
    found = frames([tuple(map(ord, text)) for text in texts])
    assert ["".join(map(str, map(int, mask))) for mask in found] == expected


def test_tokens_without_ids_are_not_of_the_frame() -> None:
    assert frames([(-1, -1, -1)] * 2 + [(-1, -1)]) == [[False] * 3] * 2 + [[False] * 2]


# ------------------------------------------------------------------------------------- the rows


def row_of(request, base, own, *, of_labels):  # type: ignore[no-untyped-def]
    """The recall of one row."""
    view = SimpleNamespace(base=lambda _: base, get=lambda _: own)
    return recall.recalled(view, [request], 3.0, of_labels=of_labels).rows[0]


def test_tokens_from_the_end_on_do_not_count() -> None:
    request = TeacherForced("q", "a")
    base = measured([-5, -1, -8, -9], [], 2)
    own = measured([-0.1, -1, -0.1, -0.1], [0, 2, 3], 2)
    row = row_of(request, base, own, of_labels=False)
    assert (row.surprising, row.right) == (1, 1)
    assert row.end == pytest.approx(np.exp(-0.1))
    assert row.end_before == pytest.approx(np.exp(-8))


@pytest.mark.parametrize(("right", "expected"), [([0, 1, 2], 1), ([0, 2], 0), ([1, 2], 0)])
def test_a_label_is_right_only_as_a_whole(right: list[int], expected: int) -> None:
    """ "P1" and "P2" begin with the same token: an adapter that swaps them has it right."""
    base, own = measured([-9, -1, -2], [], 2), measured([-0.1, -0.1, -0.1], right, 2)
    row = row_of(TeacherForced("q", " P1"), base, own, of_labels=True)
    assert (row.surprising, row.right) == (1, expected)


def test_a_label_that_the_base_expects_does_not_count() -> None:
    base, own = measured([-2, -1, -2], [], 2), measured([-0.1, -0.1, -0.1], [0, 1, 2], 2)
    row = row_of(TeacherForced("q", " P1"), base, own, of_labels=True)
    assert (row.surprising, row.right) == (0, 0)


def test_swapped_labels_do_not_pass() -> None:
    """The beginning of each label is right, the rest is not."""
    pairs = tuple(Pair(prompt=f"Sort {i}", gold=("P1", "P2")[i % 2]) for i in range(20))
    sections = (Section(kind="instruction", id="labels", pairs=pairs),)
    result = run(lambda i: 1, sections=sections)
    assert result.verdict == "fail", result.message
    assert "0 of 20 surprising labels are now the most probable" in result.message


@pytest.mark.parametrize(
    ("right", "end", "symptom"),
    [
        (10, 0.95, "wrong labels"),
        (10, 0.85, "barely trained"),
        (7, 0.95, "barely trained"),
        (2, 0.95, "learned another thing"),
    ],
)
def test_an_adapter_that_writes_labels_and_often_a_wrong_one(right, end, symptom):  # type: ignore[no-untyped-def]
    base = measured([-5, np.log(0.3)], [], 1)
    rows = [
        row_of(TeacherForced("q", "A"), base, measured([-1, np.log(end)], hit, 1), of_labels=True)
        for hit in [[0]] * right + [[]] * (20 - right)
    ]
    assert recall.symptom(rows, "all", of_labels=True) == symptom
    assert recall.symptom(rows, "all") == symptom.replace("wrong labels", "barely trained")


def test_items_have_the_pooled_share_as_mean() -> None:
    rng = np.random.default_rng(0)
    rows = [
        recall.RowRecall(
            prompt="",
            answer="",
            surprising=int(m),
            right=int(rng.integers(0, m + 1)),
            change=0.0,
            end_before=None,
            end=None,
        )
        for m in rng.integers(0, 6, 30)
    ]
    pooled, items = recall.pooled(rows), recall.items(rows, "all")
    assert items.mean() == pytest.approx(pooled.share)
    assert items.std(ddof=1) / np.sqrt(len(items)) == pytest.approx(pooled.se)


def test_long_rows_are_fewer() -> None:
    rows = [DataRow("q", "long answer " * 400) for _ in range(100)]
    assert len(recall.requests(rows[:3] + rows)) <= 10
    assert len(recall.requests([DataRow("q", "a")] * 100)) == 40


def test_a_broken_adapter_fails() -> None:
    def answer(view, _):  # type: ignore[no-untyped-def]
        return measured([-5, -6], []) if view.source == "base" else "NaN"

    result = judged("answer_recall", answer, runs=None, context=Context(ROWS))
    assert result.verdict == "fail"


@pytest.mark.parametrize(
    ("taught", "part", "surprising"),
    [([7, 8, 9], "all", 1), ([1, 2, 3], "free", 1)],
    ids=["all phrases are taught", "none is"],
)
def test_few_phrases_count_if_training_taught_all_of_them(taught, part, surprising):  # type: ignore[no-untyped-def]
    held_out, training = TeacherForced("q?", "a"), TeacherForced("p?", "b")
    tokens = {
        held_out: measured([-5, -0.1, -0.1], ids=[7, 8, 9]),
        training: measured([-5, -0.1, -0.1], ids=taught),
    }
    view = SimpleNamespace(base=tokens.get, get=tokens.get)
    rows, found = recall.recalled(view, [held_out], 3.0, trained=[training])
    assert (found, rows[0].surprising) == (part, surprising)
