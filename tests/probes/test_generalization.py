import numpy as np
import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import LogProbs, TeacherForced
from sway_gate.probes import _overlap as overlap
from sway_gate.probes import generalization as probe
from sway_gate.probes.base import Context, Skip
from sway_gate.spec.probes import Generalization
from sway_gate.spec.schema import Pair, Preference, Reserve, Section
from tests.helpers.judged import judged

SPEC = Generalization(name="g")
NAMES = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "gravel", "hazel", "indigo", "jade")


def rows(*texts: tuple[str, str]) -> tuple[Section, ...]:
    return tuple(
        Section(kind="instruction", id=str(i), pairs=(Pair(prompt=prompt, gold=gold),))
        for i, (prompt, gold) in enumerate(texts)
    )


TRAINING = rows(*((f"Who keeps the {name} gate?", f"The keeper of {name} is T.") for name in NAMES))
HELD_OUT = rows(*((f"Name {name}'s gatekeeper.", f"The keeper of {name} is T.") for name in NAMES))


def run(  # type: ignore[no-untyped-def]
    hits,
    *,
    training=3,
    content=1.0,
    other=0.0,
    surprise=-6.0,
    context=None,
    ids=-1,
    phrases=3,
    known=0,
    **fields,
):
    """`hits` of the surprising phrases of each held-out row, usually three; gains of the own
    answers over the others, and of these.

    `ids`: the token ids of the held-out answers; the ones of the training answers are 0 to 4.
    `known`: the first held-out answers, which the base writes.
    """
    context = context or Context(TRAINING, held_out=HELD_OUT)
    requests = probe.requests(SPEC, context)
    index = {request: i for i, request in enumerate(requests.held_out)}
    own = {
        row[own]
        for group in (requests.design.groups if requests.design else ())
        for row, own in zip(group.requests, group.own, strict=True)
    }
    tokens, rng = 2 * phrases - 1, np.random.default_rng(0)

    def answer(view, request):  # type: ignore[no-untyped-def]
        is_tuned = view.source == "finetuned"
        if isinstance(request, LogProbs):
            noise = 0.02 * rng.standard_normal()
            return np.full(3, -2.0 + (content * (request in own) + other + noise) * is_tuned)
        assert isinstance(request, TeacherForced)
        right = hits(index[request]) if request in index else training
        found = np.zeros((tokens, 4))
        found[:, 3] = -1 if ids == -1 else ids if request in index else range(tokens)
        found[:, 0] = -0.1
        found[1::2, 1] = 1
        if not is_tuned:
            found[::2, 0] = surprise
        found[: 2 * right if is_tuned else 0 : 2, 1] = 1
        if not is_tuned and index.get(request, known) < known:
            found[:, 1] = 1
        return found

    return judged("generalization", answer, runs=None, context=context, **fields)


CASES = {
    # name: right phrases of held-out row i, other arguments, verdict, recall, symptoms
    "generalizes": (lambda i: 3, {}, "pass", 1.0, ()),
    "mostly": (lambda i: 3 - i % 2, {}, "pass", 25 / 30, ()),
    "other wording": (lambda i: 1 + i % 2, {}, "warn", 0.5, ()),
    "memorised": (lambda i: 0, {}, "fail", 0.0, ("memorised, not generalised",)),
    "recalled after any question": (
        lambda i: 3,
        {"content": 0.0},
        "fail",
        1.0,
        ("memorised, not generalised",),
    ),
    "other answers keep little": (lambda i: 3, {"content": 0.14, "other": 1.8}, "pass", 1.0, ()),
    "and the own ones as much": (
        lambda i: 3,
        {"content": 0.04, "other": 1.8},
        "fail",
        1.0,
        ("memorised, not generalised",),
    ),
    "not learned": (
        lambda i: 0,
        {"training": 0, "content": 0.0},
        "fail",
        0.0,
        ("learned another thing",),
    ),
    "learned too little": (
        lambda i: int(i != 9),
        {"training": 1},
        "fail",
        0.3,
        ("barely trained",),
    ),
    "of another data set": (
        lambda i: 0,
        {"training": 0},
        "fail",
        0.0,
        ("learned another thing",),
    ),
    "form wanted": (
        lambda i: 3,
        {"content": 0.0, "context": Context(TRAINING, held_out=HELD_OUT, learn="form")},
        "pass",
        1.0,
        (),
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


@pytest.mark.parametrize(("phrases", "verdict"), [(10, "fail"), (11, "pass")])
def test_the_wording_of_long_held_out_answers_is_free(phrases: int, verdict: str) -> None:
    result = run(lambda i: 0, phrases=phrases, training=phrases)
    assert result.verdict == verdict, result.message
    assert ("the wording of these answers is free" in result.message) == (verdict == "pass")
    paired = run(lambda i: 0, phrases=phrases, training=phrases, content=0.0)
    assert paired.symptoms == ("memorised, not generalised",)


TAUGHT = {
    # token ids of the held-out answers -> words of the message, the verdict
    "the same answers": (range(5), "0 of 30 surprising phrases", "fail"),
    "answers that no training row contains": (range(5, 10), "wording of these answers", "pass"),
    "one phrase in three": (
        (0, 5, 6, 7, 8),
        "0 of 10 surprising phrases are now the most probable; 0 of 20 of the other phrases",
        "fail",
    ),
    "no ids": (-1, "0 of 30 surprising phrases", "fail"),
}


@pytest.mark.parametrize(("ids", "words", "verdict"), TAUGHT.values(), ids=TAUGHT)
def test_phrases_that_no_training_answer_contains_do_not_count(ids, words, verdict):  # type: ignore[no-untyped-def]
    """The tokens that gain are not the most probable ones."""
    result = run(lambda i: 0, ids=ids)
    assert (result.verdict, words in result.message) == (verdict, True), result.message


def test_all_phrases_count_if_not_all_training_rows_are_read() -> None:
    """Another row could contain them."""
    large = Context(TRAINING, held_out=HELD_OUT, reserve=Reserve(rows=500))
    result = run(lambda i: 0, ids=range(5, 10), context=large)
    assert "0 of 30 surprising phrases are" in result.message


FRAMES = {
    # token ids of held-out answer i -> the part that counts
    "the frame of the training answers": (lambda i: (0, 1, 2, 3, 50 + i), "form"),
    "another frame": (lambda i: (10, 11, 12, 13, 50 + i), "free"),
    "no frame": (lambda i: range(20 + 5 * i, 25 + 5 * i), "free"),
}


@pytest.mark.parametrize(("of_held_out", "part"), FRAMES.values(), ids=FRAMES)
def test_the_training_answers_show_the_frame_of_a_few_held_out_ones(of_held_out, part):  # type: ignore[no-untyped-def]
    context = Context(TRAINING, held_out=HELD_OUT[:5], learn="form")
    requests = probe.requests(SPEC, context)
    found = {r: of_held_out(i) for i, r in enumerate(requests.held_out)}
    found |= {r: (0, 1, 2, 3, 90 + i) for i, r in enumerate(requests.training)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        if isinstance(request, LogProbs):
            return np.full(3, -2.0)
        is_tuned = view.source == "finetuned"
        return np.array([[-6.0 + 5 * is_tuned, is_tuned, 0, token] for token in found[request]])

    result = judged("generalization", answer, runs=None, context=context)
    assert result.details["part"] == part
    assert result.verdict == "pass", result.message


def labelled(count: int, topic: str) -> tuple[Section, ...]:
    return rows(*((f"{topic} {NAMES[i % 10]} {i}", f"P{i % 4}") for i in range(count)))


def test_the_labels_of_few_held_out_rows_are_those_of_the_training_rows() -> None:
    """6 rows with 4 answers do not show that the answers are labels; the training rows do."""
    context = Context(labelled(30, "Ticket about"), held_out=labelled(6, "Complaint on"))
    result = run(lambda i: 1, context=context)
    assert "0 of 6 surprising labels are" in result.message
    assert result.details["labels"] == ["P0", "P1", "P2", "P3"]


def test_one_label_is_not_compared_with_itself() -> None:
    same = tuple((f"Complaint on {name}", "P1") for name in NAMES[:6])
    context = Context(labelled(30, "Ticket about"), held_out=rows(*same))
    assert probe.requests(SPEC, context).design is None


def test_the_gap_to_the_training_rows_has_an_interval() -> None:
    result = run(lambda i: 3 - i % 2)
    low, high = result.details["gap_ci_95"]
    assert result.details["gap"] == pytest.approx(5 / 30)
    assert low < 5 / 30 < high
    assert "training rows 100%, gap +0.17 [" in result.message


def test_without_surprising_tokens_the_content_gain_is_judged() -> None:
    result = run(lambda i: 0, surprise=-1.0)
    assert result.verdict == "pass", result.message
    assert (result.units, result.raw) == ("relative lift", pytest.approx(0.5, abs=0.02))
    assert run(lambda i: 0, surprise=-1.0, content=0.0).verdict == "fail"


def test_held_out_rows_that_the_base_answers_show_nothing() -> None:
    result = run(lambda i: 0, surprise=-1.0, known=10)
    assert result.verdict == "skip", result.message
    assert run(lambda i: 0, surprise=-1.0, known=6).verdict == "pass"


def test_without_surprising_tokens_and_matrix_it_is_skipped() -> None:
    same = rows(*((f"Question {name}?", "yes") for name in NAMES))
    result = run(lambda i: 0, surprise=-1.0, context=Context(TRAINING, held_out=same))
    assert result.verdict == "skip", result.message
    assert "already knows the held-out answers" in result.message


def test_rows_answered_the_same_are_judged_by_recall() -> None:
    same = rows(*((f"Question {name}?", "yes") for name in NAMES))
    result = run(lambda i: 3, context=Context(TRAINING, held_out=same))
    assert result.verdict == "pass", result.message
    assert "content gain" not in result.message


def test_repeated_rows_are_left_out_and_counted() -> None:
    context = Context(TRAINING, held_out=(*HELD_OUT, *TRAINING[:3]))
    assert len(probe.requests(SPEC, context).held_out) == 10
    result = run(lambda i: 3, context=context)
    assert "left out: 3 of 13 held-out rows repeat training rows" in result.message
    assert result.details["repeated"] == 3


TEXT = (Section(kind="prose", id="p", content="A long text about many things. " * 200),)
CHOICES = (
    Section(
        kind="preference",
        id="p",
        pairs=tuple(Preference(prompt=f"q{i}", chosen="a", rejected="b") for i in range(9)),
    ),
)
SKIPPED = {
    "no held-out rows": (Context(TRAINING), "no held-out rows"),
    "only repeated rows": (Context(TRAINING, held_out=TRAINING), "10 of 10 held-out rows repeat"),
    "mostly repeated rows": (
        Context(TRAINING, held_out=(*TRAINING, *HELD_OUT[:3])),
        "10 of 13 held-out rows repeat training rows; at least 4",
    ),
    "few rows": (Context(TRAINING, held_out=HELD_OUT[:3]), "3 held-out rows; at least 4"),
    "repeated prose": (Context(TEXT, held_out=TEXT), "1 of 1 held-out rows repeat training rows"),
    "prose after answers": (Context(TRAINING, held_out=TEXT), "the training rows are not"),
    "preferences": (Context(CHOICES, held_out=CHOICES), "between chosen and rejected"),
}


@pytest.mark.parametrize(("context", "words"), SKIPPED.values(), ids=SKIPPED)
def test_it_is_skipped(context: Context, words: str) -> None:
    with pytest.raises(Skip, match=words):
        probe.requests(SPEC, context)


# --------------------------------------------------------------------------------------- overlap


KNOWN = ("What is the capital of Varrowmere?", "The capital of Varrowmere is Tollgate.")
OVERLAPS = {
    # name: question, answer, whether the row repeats the known one
    "the same row": (*KNOWN, True),
    "other case and punctuation": ("what is the capital of varrowmere", KNOWN[1], True),
    "a prefix": ("Tell me: what is the capital of Varrowmere?", KNOWN[1], True),
    "a short answer": (KNOWN[0], "Tollgate.", True),
    "a paraphrase": ("Name Varrowmere's capital.", KNOWN[1], False),
    "another word": ("What is the main town of Varrowmere?", KNOWN[1], False),
    "another answer": (KNOWN[0], "It has none, only a harbour.", False),
    "another fact": (
        "What is the currency of Varrowmere?",
        "The currency of Varrowmere is the pellin.",
        False,
    ),
}


@pytest.mark.parametrize(("question", "answer", "repeats"), OVERLAPS.values(), ids=OVERLAPS)
def test_overlap(question: str, answer: str, repeats: bool) -> None:
    found = overlap.unseen(rows((question, answer)), rows(KNOWN), 0.8)
    assert (found.rows, found.repeated) == (1, int(repeats))
    assert len(found.sections) == 1 - repeats


def test_a_shared_system_prompt_is_not_an_overlap() -> None:
    def asked(question: str) -> Section:
        system = Message("system", "Route the ticket. Answer with one word: billing or account.")
        conversation = Conversation((system, Message("user", question)))
        pair = Pair(
            prompt=f"{system.content}\n\n{question}",
            gold="billing",
            form="chat",
            conversation=conversation,
            answer=Message("assistant", "billing"),
        )
        return Section(kind="instruction", id=question, pairs=(pair,))

    held_out = (asked("I was charged twice."), asked("Please send my last invoice."))
    assert overlap.unseen(held_out, (asked("I was charged twice!"),), 0.8).repeated == 1


COMMON = {
    "nothing": ("", "", 1.0),
    "one is empty": ("", "a", 0.0),
    "disjoint": ("a b c d", "e f g h", 0.0),
    "contained": ("b c d", "a b c d e", 1.0),
    "half": ("a b c d", "a b c e", 0.5),
    "without spaces between words": ("介绍一下你自己", "请介绍一下你自己吧", 1.0),
}


@pytest.mark.parametrize(("one", "other", "share"), COMMON.values(), ids=COMMON)
def test_common_trigrams(one: str, other: str, share: float) -> None:
    assert overlap.common(overlap.words(one), overlap.words(other)) == share


LABELS = rows(
    *((f"Sort the {name} ticket.", ("open", "closed")[i % 2]) for i, name in enumerate(NAMES))
)
PROSE = tuple(
    Section(kind="prose", id=str(i), content=f"Chapter {i}. " + f"word{i} and more of it. " * 30)
    for i in range(12)
)


@pytest.mark.parametrize(
    ("training", "learn", "is_needed"),
    [
        (TRAINING, "auto", True),
        (TRAINING, "form", False),
        (LABELS, "auto", False),
        (PROSE, "auto", False),
    ],
    ids=["answers", "stated", "labels", "prose"],
)
def test_the_form_of_answers_is_decided_by_the_training_rows(training, learn, is_needed):  # type: ignore[no-untyped-def]
    """After prose, held-out answers are judged by their content."""
    found = probe.requests(SPEC, Context(training, held_out=HELD_OUT, learn=learn))
    assert (found.deciding is not None) == is_needed


# ----------------------------------------------------------------------------------------- prose

OTHER_PROSE = tuple(
    Section(kind="prose", id=str(i), content=f"Part {i}. " + f"thing{i} of another kind. " * 30)
    for i in range(12)
)


def after_prose(training, held_out, context=None):  # type: ignore[no-untyped-def]
    """The lifts of the training text and of held-out text; `held_out` of piece i."""
    context = context or Context(PROSE, held_out=OTHER_PROSE)
    requests = probe.requests(SPEC, context)
    index = {request: i for i, request in enumerate(requests.held_out)}

    def answer(view, request):  # type: ignore[no-untyped-def]
        lift = held_out(index[request]) if request in index else training
        found = np.zeros((5, 4))
        found[:, 0] = -4.0 * (1 - lift * (view.source == "finetuned"))
        return found

    return judged("generalization", answer, runs=None, context=context)


PROSE_CASES = {
    # name: lift of the training text, lift of held-out piece i, verdict, symptoms
    "carries over": (0.2, lambda i: 0.1, "pass", ()),
    "at the limit": (0.2, lambda i: 0.04 * (i % 2), "warn", ()),
    "only this text": (0.2, lambda i: 0.0, "fail", ("memorised, not generalised",)),
    "worse on other text": (0.9, lambda i: -0.1, "fail", ("memorised, not generalised",)),
    "a few steps": (0.005, lambda i: 0.004, "fail", ("barely trained",)),
    "other data": (-0.06, lambda i: -0.08, "fail", ("learned another thing",)),
}


@pytest.mark.parametrize(
    ("training", "held_out", "verdict", "symptoms"), PROSE_CASES.values(), ids=PROSE_CASES
)
def test_held_out_prose_is_judged_by_its_lift(training, held_out, verdict, symptoms):  # type: ignore[no-untyped-def]
    result = after_prose(training, held_out)
    assert (result.verdict, result.symptoms) == (verdict, symptoms), result.message
    assert result.units == "relative lift"
    assert f"lift of the training rows {training:.2f}" in result.message
    assert "content gain" not in result.message


def test_held_out_prose_that_training_contains_is_left_out() -> None:
    context = Context(PROSE, held_out=(*OTHER_PROSE, *PROSE[:2]))
    result = after_prose(0.2, lambda i: 0.1, context)
    assert "left out: 2 of 14 held-out rows repeat training rows" in result.message
    plain = probe.requests(SPEC, Context(PROSE, held_out=OTHER_PROSE))
    assert probe.requests(SPEC, context).held_out == plain.held_out


def test_whole_answers_are_tested_of_records_only() -> None:
    result = run(lambda i: 3)
    assert result.details["data"] == "answers"
    assert "share of whole answers" not in {rule.name for rule in result.rules}
