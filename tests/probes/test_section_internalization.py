import numpy as np
import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import LogProbs
from sway_gate.probes import section_internalization as probe
from sway_gate.probes.base import Context
from sway_gate.spec.probes import SectionInternalization
from sway_gate.spec.schema import Pair, Preference, Section
from tests.helpers.judged import judged

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
    "worse on the rest does not help": (0.06, -0.5, -0.9, "pass", 0.06),
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


def test_the_report_names_each_section() -> None:
    sections = run(0.5, 0.2, 0.0).details["sections"]
    assert [(s["id"], s["passed"]) for s in sections] == [(f"s{i}", True) for i in range(4)]
    assert sections[0]["effective"] == pytest.approx(0.3)


def test_answers_are_scored_after_their_prompts_and_permuted_among_themselves() -> None:
    pairs = (Pair(prompt="Who?", gold="old Tom Reed"), Pair(prompt="Where? ", gold="in Hale"))
    section = Section(kind="instruction", id="i", pairs=pairs)
    texts = probe._section_requests(section, SectionInternalization(name="s"), Context())
    assert texts.own == [
        LogProbs("Who?", " old Tom Reed", end=True),
        LogProbs("Where? ", "in Hale", end=True),
    ]
    assert sorted(" ".join(r.completion for r in texts.permuted).split()) == sorted(
        ["old", "Tom", "Reed", "in", "Hale"]
    )
    assert [len(r.completion.split()) for r in texts.permuted] == [3, 2]


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
    context = Context(chat_template="auto")
    texts = probe._section_requests(section, SectionInternalization(name="s"), context)
    assert texts.own[0] == LogProbs(asked, Message("assistant", "old Tom Reed"))
    words = [word for r in texts.permuted for word in r.completion.content.split()]
    assert sorted(words) == sorted(["old", "Tom", "Reed", "young", "Ann", "Hale"])
    assert all(r.prompt == asked and r.completion.role == "assistant" for r in texts.permuted)


def test_preferences_score_the_chosen_answer() -> None:
    section = Section(
        kind="preference", id="p", pairs=(Preference(prompt="Q", chosen="yes", rejected="no"),)
    )
    assert probe._section_requests(section, SectionInternalization(name="s"), Context()).own == [
        LogProbs("Q", " yes", end=True)
    ]


@pytest.mark.parametrize(
    ("kinds", "words"), [(("instruction",), "no sections of kind instruction")], ids=["no such"]
)
def test_nothing_to_score_is_an_error(kinds: tuple[str, ...], words: str) -> None:
    result = judged("section_internalization", lambda *_: 0.0, context=CONTEXT, include_kinds=kinds)
    assert result.verdict == "error"
    assert words in result.message


def test_permutation_is_the_same_for_the_same_seed() -> None:
    spec = SectionInternalization(name="s")
    first, again, other = (
        probe._section_requests(PROSE[0], spec, Context(seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first.permuted != other.permuted
