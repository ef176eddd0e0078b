import numpy as np
import pytest

from sway_gate import stats
from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import LogProbs
from sway_gate.probes import section_internalization as probe
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import SectionInternalization
from sway_gate.spec.schema import Pair, Preference, Section
from tests.helpers.judged import judged
from tests.helpers.simulation import one_fast

PROSE = tuple(
    Section(kind="prose", id=f"s{i}", content=f"the {i} cat sat on a red mat today")
    for i in range(4)
)
CONTEXT = Context(PROSE, ("control prose",))


def run(
    own: float, permuted: float, control: float, *, context: Context = CONTEXT, **fields: object
):  # type: ignore[no-untyped-def]
    """Lifts of the fine-tuned view on text, permuted words and control; nulls about 0."""
    spec = SectionInternalization(name="s", **fields)  # type: ignore[arg-type]
    texts = probe.requests(spec, context).sections
    originals = {r for t in texts for r in t.own}

    def answer(view, request):  # type: ignore[no-untyped-def]
        lift = (
            control
            if request.completion == "control prose"
            else own
            if request in originals
            else permuted
        )
        if view.source == "base":
            lift = 0.0
        elif view.source == "null":
            lift = 0.001 * (view.seed_index - 3)
        return np.full(5, -2.0 * (1 - lift))

    return judged("section_internalization", answer, context=context, **fields)


CASES = {
    "learned": (0.5, 0.2, 0.0, "pass", 0.3),
    "vocabulary alone": (0.3, 0.3, 0.0, "fail", 0.0),
    "english in general": (0.3, 0.0, 0.28, "fail", 0.02),
    "worse on the rest does not help": (0.06, -0.5, -0.9, "warn", 0.06),
    "small, and inconclusive": (0.055, 0.0, 0.0, "warn", 0.055),
    "small, and large enough": (0.07, 0.0, 0.0, "pass", 0.07),
    "small and certain": (0.04, 0.0, 0.0, "fail", 0.04),
    "nothing": (0.0, 0.0, 0.0, "fail", 0.0),
    "unlearned": (-0.4, -0.4, 0.0, "fail", -0.4),
}


@pytest.mark.parametrize(
    ("own", "permuted", "control", "verdict", "value"), CASES.values(), ids=CASES
)
def test_verdicts(own: float, permuted: float, control: float, verdict: str, value: float) -> None:
    result = run(own, permuted, control)
    assert result.verdict == verdict, result.message
    assert result.raw == pytest.approx(value, abs=1e-9)


def of_lifts(lifts: list[float]):  # type: ignore[no-untyped-def]
    """The probe on one section per lift, with nulls about 0."""
    sections = tuple(
        Section(kind="prose", id=f"s{i}", content=f"word{i} a b c d e f g h")
        for i in range(len(lifts))
    )

    def answer(view, request):  # type: ignore[no-untyped-def]
        own = [i for i, s in enumerate(sections) if s.content == request.completion]
        by_source = {"base": 0.0, "null": 1e-6 * (view.seed_index - 3)}
        return np.full(5, -2.0 * (1 - by_source.get(view.source, lifts[own[0]] if own else 0.0)))

    return judged("section_internalization", answer, context=Context(sections, ("control",)))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_an_adapter_without_effect_is_not_inconclusive(n: int) -> None:
    """Sections cannot differ by more than the adapter changes them."""
    result = of_lifts([0.0005 + 0.0001 * i for i in range(n)])
    assert result.verdict == "fail"
    mean = 0.0005 + 0.00005 * (n - 1)
    sections = "1 section" if n == 1 else f"{n} sections"
    assert result.message == (
        f"mean effective lift: {mean:.3g}, must be at least 0.05; 0 of {sections} learned, must be "
        f"at least 50%; indistinguishable from 8 null adapters ({result.z:+.1f}σ, must reach 3σ)"
    )


def test_the_bound_follows_the_interval_at_any_size_of_the_lifts() -> None:
    """The measured lifts of a healthy adapter at a tenth of its scale, and at its full scale."""
    for lifts in (
        [0.0524, 0.0851, 0.0658, 0.0662, 0.0848, 0.074, 0.06],
        [0.4547, 0.5126, 0.4797, 0.5017, 0.5538, 0.549, 0.416],
    ):
        result = of_lifts(lifts)
        assert result.verdict == "pass", result.message
        assert result.ci_95 is not None
        assert result.bound is not None
        assert result.raw - result.bound < 1.5 * (result.raw - result.ci_95[0])


@pytest.mark.parametrize("n", one_fast(3, 1, 8))
@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_lifts_at_the_limit_seldom_pass_or_fail(n: int, limit: float) -> None:
    """Effective lifts that differ by a fifth of their mean, as measured: 5% each, or fewer."""
    rng = np.random.default_rng(0)
    prior = stats.Prior(probe._SPREAD * limit, probe._SPREAD_DF)
    draws = rng.normal(limit, 0.2 * limit, (2000, n))
    zs = np.array([stats.mean_above(x, limit, 1e-4, prior).z for x in draws])
    assert np.mean(zs > stats.Z_95) <= 0.06
    assert np.mean(zs < -stats.Z_95) <= 0.06


def test_the_score_is_point_6_where_the_bound_is_at_the_limit() -> None:
    low, high = 0.05, 0.1
    for _ in range(40):
        middle = (low + high) / 2
        bound = run(middle, 0.0, 0.0).bound
        low, high = (middle, high) if bound < 0.05 else (low, middle)
    assert run(high, 0.0, 0.0).score == pytest.approx(0.6, abs=1e-3)


def test_the_report_names_each_section() -> None:
    sections = run(0.5, 0.2, 0.0).details["sections"]
    assert [(s["id"], s["passed"]) for s in sections] == [(f"s{i}", True) for i in range(4)]
    assert sections[0]["effective"] == pytest.approx(0.3)


def requested(section: Section, **context: object) -> probe.SectionRequests:
    given = Context((section,), **context)  # type: ignore[arg-type]
    [found] = probe.requests(SectionInternalization(name="s"), given).sections
    return found


def test_answers_are_scored_after_their_prompts_and_permuted_among_themselves() -> None:
    pairs = (Pair(prompt="Who?", gold="old Tom Reed"), Pair(prompt="Where? ", gold="in Hale"))
    section = Section(kind="instruction", id="i", pairs=pairs)
    texts = requested(section)
    assert texts.own == [
        LogProbs("Who?", " old Tom Reed", end=True),
        LogProbs("Where? ", "in Hale", end=True),
    ]
    assert sorted(" ".join(r.completion for r in texts.permuted).split()) == sorted(
        ["old", "Tom", "Reed", "in", "Hale"]
    )
    assert [len(r.completion.split()) for r in texts.permuted] == [3, 2]
    assert texts.other == [
        LogProbs("Who?", " in Hale", end=True),
        LogProbs("Where? ", "old Tom Reed", end=True),
    ]


def of_answers(answers: list[str], own: float, other: float) -> ProbeResult:
    """One section per answer: its lift after its own prompt, and of answers of other rows."""
    sections = tuple(
        Section(kind="instruction", id=f"s{i}", pairs=(Pair(prompt=f"q{i}?", gold=answer),))
        for i, answer in enumerate(answers)
    )
    golds = {pair.prompt: f" {pair.gold}" for section in sections for pair in section.pairs}

    def answer(view, request):  # type: ignore[no-untyped-def]
        is_own = golds.get(request.prompt) == request.completion
        is_other = not is_own and request.completion in golds.values()
        lifts = {"base": 0.0, "null": 0.001 * (view.seed_index - 3)}
        lift = lifts.get(view.source, own if is_own else other if is_other else 0.0)
        return np.full(5, -2.0 * (1 - lift))

    return judged("section_internalization", answer, context=Context(sections, ("control",)))


@pytest.mark.parametrize(("other", "verdict"), [(0.1, "pass"), (0.5, "fail")])
def test_other_answers_after_the_same_prompts_are_a_control(other: float, verdict: str) -> None:
    result = of_answers(["the first one", "a second one", "some third one"], 0.5, other)
    assert (result.verdict, result.raw) == (verdict, pytest.approx(0.5 - other))


def test_a_label_is_compared_with_other_labels_only() -> None:
    result = of_answers(["joy", "fear", "joy"], 0.5, 0.1)
    assert (result.verdict, result.raw) == ("pass", pytest.approx(0.4))


def test_equal_answers_have_no_others() -> None:
    result = of_answers(["the same", "the same", "the same"], 0.5, 0.5)
    assert (result.verdict, result.raw) == ("pass", pytest.approx(0.5))


def test_answers_of_conversations_are_messages() -> None:
    asked = Conversation((Message("system", "Be brief."), Message("user", "Who?")))
    pairs = tuple(
        Pair(
            prompt="Be brief.\n\nWho?",
            gold=gold,
            form="chat",
            conversation=asked,
            answer=Message("assistant", gold),
        )
        for gold in ("old Tom Reed", "young Ann Hale")
    )
    section = Section(kind="instruction", id="i", pairs=pairs)
    texts = requested(section, chat_template="auto")
    assert texts.own[0] == LogProbs(asked, Message("assistant", "old Tom Reed"))
    words = [word for r in texts.permuted for word in r.completion.content.split()]
    assert sorted(words) == sorted(["old", "Tom", "Reed", "young", "Ann", "Hale"])
    assert all(r.prompt == asked and r.completion.role == "assistant" for r in texts.permuted)


def test_preferences_score_the_chosen_answer() -> None:
    section = Section(
        kind="preference", id="p", pairs=(Preference(prompt="Q", chosen="yes", rejected="no"),)
    )
    texts = requested(section)
    assert texts.own == [LogProbs("Q", " yes", end=True)]
    assert texts.other == []


@pytest.mark.parametrize(
    ("kinds", "words"), [(("instruction",), "no sections of kind instruction")], ids=["no such"]
)
def test_nothing_to_score_is_an_error(kinds: tuple[str, ...], words: str) -> None:
    result = judged("section_internalization", lambda *_: 0.0, context=CONTEXT, include_kinds=kinds)
    assert result.verdict == "error"
    assert words in result.message


def test_permutation_is_the_same_for_the_same_seed() -> None:
    first, again, other = (requested(PROSE[0], seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.permuted != other.permuted
