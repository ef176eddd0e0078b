"""Custom backends and the dummy: what the wrapper returns and what it refuses."""

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

from sway_gate import probes
from sway_gate.backends import custom, dummy
from sway_gate.backends.base import OF_MODELS
from sway_gate.conversation import asked
from sway_gate.engine.run import Measured, run_plan
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.judge.probe import NullViews, ProbeRun, judge_probe
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Answers,
    Divergence,
    Generation,
    LogProbs,
    NoAnswer,
    TeacherForced,
    View,
    with_base,
)
from sway_gate.output import silent
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import ModelRef, Section
from tests.helpers import ROOT

DOCS = ROOT / "docs" / "backends.md"
LABEL = "custom backend letters:make"
NULL = View("null", 2)
VIEWS = (BASE, FINETUNED, NULL, FINETUNED.scaled(0.5))
MODELS = ModelRef(kind="custom", base="b"), ModelRef(kind="custom", base="b", adapter="a")


class Letters:
    """Over the letters a, b, c: logits by view and by last letter, one token a letter."""

    capabilities = frozenset({"nulls", "scales", "generation", "teacher_forced"})

    def __init__(self, *_: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def row(self, view: View, last: str) -> Any:
        change = {"base": 0.0, "finetuned": 1.0, "null": 0.1 * view.seed_index}[view.source]
        return log_softmax([1.0, 0.5 + view.scale * change, ord(last) % 3 - 1.0])

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> Any:
        self.calls.append((view, prompt, answer))
        return np.array([self.row(view, last) for last in prompt[-1] + answer])

    def log_probs(self, view: View, prompt: str, completion: str) -> Any:
        befores = (prompt + completion)[len(prompt) - 1 : -1]
        return [self.row(view, b)["abc".index(c)] for b, c in zip(befores, completion, strict=True)]

    def generate(self, view: View, prompt: str, max_new_tokens: int) -> str:
        return "abacab"[: max_new_tokens - 1]

    def argmax_matches(self, view: View, prompt: str, completion: str) -> list[bool]:
        return [letter == "a" for letter in completion]


class Bare:
    """Only what is required."""

    def __init__(self, *_: Any) -> None:
        self._letters = Letters()

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> Any:
        return self._letters.next_token_log_probs(view, prompt, answer)

    def log_probs(self, view: View, prompt: str, completion: str) -> Any:
        return self._letters.log_probs(view, prompt, completion)


def measured(model: Any, *requests: Any, views: Iterable[View] = VIEWS) -> Measured:
    keys = [(view, request) for request in requests for view in views]
    return run_plan(with_base(keys), lambda: custom.wrap(model, LABEL), None, silent)


def answers(model: Any, *requests: Any, views: Iterable[View] = VIEWS) -> Answers:
    return measured(model, *requests, views=views).answers


def rows_of(view: View, lasts: str) -> Any:
    return np.exp([Letters().row(view, last) for last in lasts])


def js(p: Any, q: Any) -> Any:
    return (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)).sum(-1) / 2


DIVERGENCES: dict[str, tuple[Divergence, str, Callable[[Any, Any], Any]]] = {
    "js after the prompt": (Divergence("cab"), "b", js),
    "js along the base's answer": (Divergence("cab", "js", 4), "bab", js),
    "kl of the view to the base": (
        Divergence("cab", "kl", 3),
        "ba",
        lambda p, q: rel_entr(q, p).sum(-1),
    ),
    "js behind a context": (Divergence("cab", "js", 4, context=50), "bab", js),
}


@pytest.mark.parametrize("view", VIEWS[1:], ids=str)
@pytest.mark.parametrize(("request_", "lasts", "divergence"), DIVERGENCES.values(), ids=DIVERGENCES)
def test_divergences_are_those_of_the_distributions(view, request_, lasts, divergence):
    expected = divergence(rows_of(BASE, lasts), rows_of(view, lasts))
    assert answers(Letters(), request_).get(view, request_) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_other_answers_are_returned_unchanged(view):
    scored, recalled, written = LogProbs("c", "abb"), TeacherForced("c", "ab"), Generation("c", 4)
    found = answers(Letters(), scored, recalled, written)
    assert found.get(view, scored).tolist() == list(Letters().log_probs(view, "c", "abb"))
    assert found.get(view, recalled).tolist() == [
        *map(list, zip(found.get(view, scored)[:2], [1, 0], [0, 0], [-1, -1], strict=True))
    ]
    assert found.text(view, written) == "aba"


class OldNames(Bare):
    capabilities = frozenset({"recall"})

    def greedy_hits(self, view: View, prompt: str, completion: str) -> list[bool]:
        return [letter == "a" and view.number == 0 for letter in completion]


def test_objects_may_use_the_old_names():
    request = TeacherForced("c", "ab")
    assert custom.wrap(OldNames(), LABEL).capabilities == OF_MODELS | {"teacher_forced"}
    found = answers(OldNames(), request, views=[FINETUNED])
    assert found.get(FINETUNED, request)[:, 1].tolist() == [1, 0]


def test_a_wrong_answer_of_an_old_name_is_reported_under_it():
    model = OldNames()
    model.greedy_hits = lambda *_: [0.5, 1]
    with pytest.raises(CannotDecide, match="greedy_hits under the base view returned other values"):
        answers(model, TeacherForced("c", "ab"), views=[FINETUNED])


def test_context_precedes_the_prompt_and_keeps_the_answer_to_the_bare_prompt():
    model = Letters()
    answers(model, Divergence("cab", positions=3, context=1000), views=[FINETUNED])
    _, prompt, answer = model.calls[-1]
    assert (prompt[:11], prompt[-5:], len(prompt), answer) == ("The morning", "\n\ncab", 4005, "a")


def test_without_generation_only_the_first_position_is_measured():
    request = Divergence("cab", positions=4)
    found = measured(Bare(), request, views=[FINETUNED])
    assert found.answers.get(FINETUNED, request).shape == (1,)
    assert found.notes == (
        "1 text was read only at the first position after the prompt: "
        "the custom backend cannot generate text",
    )


LACKING = {
    "nulls": (
        NULL,
        LogProbs("c", "a"),
        "LogProbs under the null 2 view needs the capability nulls",
    ),
    "scales": (
        VIEWS[3],
        LogProbs("c", "a"),
        "LogProbs under the finetuned at scale 0.5 view needs the capability scales",
    ),
    "generation": (
        BASE,
        Generation("c", 3),
        "Generation under the base view needs the capability generation",
    ),
    "teacher_forced": (
        BASE,
        TeacherForced("c", "a"),
        "TeacherForced under the base view needs the capability teacher_forced",
    ),
}


@pytest.mark.parametrize(("view", "request_", "message"), LACKING.values(), ids=LACKING)
def test_undeclared_capabilities_are_not_called(view, request_, message):
    with pytest.raises(CannotDecide, match=f"^{LABEL}: {message}, which is not declared$"):
        measured(Bare(), request_, views=[view])


def test_prompts_for_a_chat_template_are_refused():
    with pytest.raises(CannotDecide, match=r"set defaults\.chat_template to off"):
        measured(Letters(), LogProbs(asked("c"), "a"))


SCORED, READ, HIT, WRITTEN = (
    LogProbs("c", "ab"),
    Divergence("cab"),
    TeacherForced("c", "ab"),
    Generation("c", 3),
)
WRONG: dict[str, tuple[str, Any, Any, str]] = {
    "positive": (
        "log_probs",
        SCORED,
        [-1, 0.5],
        "returned 0.5; natural logarithms of probabilities are at most 0",
    ),
    "probabilities": (
        "next_token_log_probs",
        READ,
        [[0.2, 0.8]],
        "returned 0.8; natural logarithms",
    ),
    "two axes": ("log_probs", SCORED, [[-1.0]], "returned shape [1, 1]; it must be [tokens]"),
    "one axis": (
        "next_token_log_probs",
        READ,
        [-0.7, -0.7],
        "returned shape [2]; it must be [1 + tokens of the answer, ",
    ),
    "no place": (
        "next_token_log_probs",
        READ,
        np.zeros((0, 3)),
        "returned shape [0, 3]; it must be [1 + tokens",
    ),
    "part of the vocabulary": (
        "next_token_log_probs",
        READ,
        [[-1.6, -1.6]],
        "sum to 0.404 over the vocabulary",
    ),
    "nothing likely": (
        "next_token_log_probs",
        READ,
        [[-np.inf, -np.inf]],
        "sum to 0 over the vocabulary",
    ),
    "too few hits": (
        "argmax_matches",
        HIT,
        [True],
        "returned shape [1]; it must be [2], like log_probs",
    ),
    "hits that are scores": (
        "argmax_matches",
        HIT,
        [0.5, 1],
        "returned other values than true and false",
    ),
    "no text": ("generate", WRITTEN, None, "returned NoneType, not a text"),
    "no numbers": (
        "log_probs",
        SCORED,
        ["x"],
        "raised ValueError: could not convert string to float: 'x'",
    ),
    "ragged": ("next_token_log_probs", READ, [[-1.0], [-1.0, -2.0]], "raised ValueError"),
}


@pytest.mark.parametrize(("method", "request_", "given", "message"), WRONG.values(), ids=WRONG)
def test_wrong_answers_end_in_one_line(method, request_, given, message):
    model = Letters()
    setattr(model, method, lambda *_: given)
    with pytest.raises(
        CannotDecide, match=rf"^{LABEL}: {method} under the base view .*{re.escape(message)}.*$"
    ):
        measured(model, request_)


RAISED = {
    "exception": ValueError("a\n  b"),
    "exit": SystemExit(0),
    "nothing said": KeyError(),
    "deep": RecursionError(),
}


@pytest.mark.parametrize(
    "method", ["log_probs", "next_token_log_probs", "generate", "argmax_matches"]
)
@pytest.mark.parametrize("error", RAISED.values(), ids=RAISED)
def test_exceptions_of_the_users_code_end_in_one_line(method, error):
    model = Letters()
    setattr(model, method, raising(error))
    expected = " ".join(f"{type(error).__name__}: {error}".split())
    with pytest.raises(CannotDecide) as caught:
        measured(model, SCORED, Divergence("cab", positions=2), HIT, WRITTEN)
    assert str(caught.value) == f"{LABEL}: {method} under the base view raised {expected}"


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def under(view: View, method: str, given: Any) -> Letters:
    """Letters that give `given` under one view."""
    model = Letters()
    usual = getattr(model, method)
    setattr(model, method, lambda v, *texts: given if v == view else usual(v, *texts))
    return model


@pytest.mark.parametrize(
    ("method", "request_"), [("log_probs", SCORED), ("next_token_log_probs", READ)]
)
def test_views_that_score_other_tokens_are_refused(method, request_):
    given = np.log(np.full((1, 4), 0.25)) if method == "next_token_log_probs" else [-1.0]
    with pytest.raises(
        CannotDecide,
        match=f"{method} under the finetuned view returned shape .* under another view",
    ):
        measured(under(FINETUNED, method, given), request_)


FAULTS = {
    "nan": (FINETUNED, "log_probs", SCORED, [np.nan, -1], "adapter"),
    "-inf": (FINETUNED, "log_probs", SCORED, [-np.inf, -1], "adapter"),
    "base": (BASE, "log_probs", SCORED, [np.nan, -1], "base"),
    "inf": (FINETUNED, "next_token_log_probs", READ, [[np.inf, 0, 0]], "adapter"),
    "infinite kl": (
        BASE,
        "next_token_log_probs",
        Divergence("cab", "kl"),
        [[0, -np.inf, -np.inf]],
        "adapter",
    ),
}


@pytest.mark.parametrize(("view", "method", "request_", "given", "of"), FAULTS.values(), ids=FAULTS)
def test_values_that_are_not_finite_are_faults_of_their_view(view, method, request_, given, of):
    found = answers(under(view, method, given), request_)
    with pytest.raises(
        NoAnswer, match=f"NaN or Inf under the .* view, from .*{method}.* on "
    ) as caught:
        found.get(
            FINETUNED if of == "adapter" else BASE,
            LogProbs("c", "ab") if request_ is SCORED else request_,
        )
    assert caught.value.fault.of == of


def test_a_base_without_distributions_is_named_for_every_view():
    found = answers(under(BASE, "next_token_log_probs", [[np.nan, 0, 0]]), READ)
    with pytest.raises(NoAnswer, match="under the base view") as caught:
        found.get(NULL, READ)
    assert caught.value.fault.of == "base"


def test_a_text_without_tokens_is_the_texts_fault():
    found = answers(Letters(), LogProbs("c", ""))
    with pytest.raises(NoAnswer, match="no token to score in '' after 'c'") as caught:
        found.get(FINETUNED, LogProbs("c", ""))
    assert caught.value.fault.of == "text"


def test_rounding_errors_above_0_are_removed():
    model = under(FINETUNED, "next_token_log_probs", np.log([[0.5, 0.504, 1e-300]]))
    expected = js(rows_of(BASE, "b"), np.array([[0.5, 0.504, 0.0]]) / 1.004)
    assert answers(model, READ).get(FINETUNED, READ) == pytest.approx(expected, rel=1e-6)
    found = answers(under(FINETUNED, "log_probs", [0.0005, -1.0]), SCORED)
    assert found.get(FINETUNED, SCORED).tolist() == [0.0, -1.0]


def test_a_probability_of_zero_is_not_an_error():
    model = under(FINETUNED, "next_token_log_probs", [[np.log(0.5), np.log(0.5), -np.inf]])
    expected = js(rows_of(BASE, "b"), np.array([[0.5, 0.5, 0.0]]))
    assert answers(model, READ).get(FINETUNED, READ) == pytest.approx(expected, rel=1e-6)


def test_a_longer_answer_is_measured_at_the_requested_positions():
    model, request = Letters(), Divergence("cab", positions=3)
    model.generate = lambda *_: "abacabac"
    assert answers(model, request).get(FINETUNED, request).shape == (3,)


def test_prints_stay_out_of_the_output(capsys):
    model = Letters()
    model.log_probs = lambda *_: print("loading") or [-1.0]
    measured(model, SCORED)
    assert capsys.readouterr().out == ""


# Entry points


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported during the test, under a separate name."""

    def write(text: str, name: str = "made_up_backend") -> None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


ENTRY_POINTS = {
    "none": (
        None,
        "",
        UsageError,
        "kind: custom needs entry_point: package.module:factory, got None",
    ),
    "no factory": ("made_up_backend", "", UsageError, "needs entry_point: package.module:factory"),
    "a path": (
        "./made_up_backend.py:make",
        "",
        UsageError,
        "needs entry_point: package.module:factory",
    ),
    "two lines": ("made_up_backend:x\ny", "", UsageError, r"got 'made_up_backend:x\\ny'"),
    "no module": (
        "nowhere_at_all.sub:make",
        "",
        UsageError,
        "module nowhere_at_all not found; install it, or put",
    ),
    "no submodule": (
        "made_up_backend.sub:make",
        "",
        UsageError,
        "module made_up_backend.sub not found;",
    ),
    "no such name": (
        "made_up_backend:make",
        "",
        UsageError,
        r"make does not exist; define make\(base, ft\) in made_up",
    ),
    "not callable": ("made_up_backend:make", "make = 3", UsageError, "make is int, not a factory"),
    "missing import": (
        "made_up_backend:make",
        "import nowhere_at_all",
        CannotDecide,
        "import of .* raised ModuleNotFound",
    ),
    "exit on import": (
        "made_up_backend:make",
        "raise SystemExit",
        CannotDecide,
        "import of .* raised SystemExit",
    ),
    "failing factory": (
        "made_up_backend:make",
        "def make(base): ...",
        CannotDecide,
        "the factory raised TypeError: make()",
    ),
    "no method": (
        "made_up_backend:make",
        "def make(*a): ...",
        CannotDecide,
        r"NoneType lacks the method log_probs\(view, ",
    ),
    "no second method": (
        "made_up_backend:make",
        "class make:\n def __init__(self, base, ft): ...\n def log_probs(self): ...",
        CannotDecide,
        r"its make lacks the method next_token_log_probs\(view, prompt, answer\)",
    ),
}


@pytest.mark.parametrize(
    ("entry_point", "text", "error", "message"), ENTRY_POINTS.values(), ids=ENTRY_POINTS
)
def test_bad_entry_points_end_in_one_line(module, entry_point, text, error, message):
    module(text)
    with pytest.raises(error, match=f"^.*{message.replace('()', '[(][)]')}.*$"):
        custom.load(entry_point, *MODELS)


CAPABILITIES = {
    "unknown": (
        {"nulls", "speed"},
        "capabilities must be a subset of generation, nulls, scales, teacher_forced; got",
    ),
    "a text": ("nulls", "capabilities must be a subset of"),
    "generation": (
        {"generation"},
        r"its Bare lacks the method generate\(view, prompt, max_new_tokens\)",
    ),
    "teacher_forced": (
        {"teacher_forced"},
        r"its Bare lacks the method argmax_matches\(view, prompt, completion\)",
    ),
}


@pytest.mark.parametrize(("declared", "message"), CAPABILITIES.values(), ids=CAPABILITIES)
def test_capabilities_are_checked(declared, message):
    model: Any = Bare()
    model.capabilities = declared
    with pytest.raises(CannotDecide, match=f"^{LABEL}: {message}"):
        custom.wrap(model, LABEL)


def test_the_factory_gets_both_models(module, capsys):
    module(
        "from tests.backends.test_custom import Bare\n"
        "def make(*models): print(*models); return Bare()"
    )
    backend = custom.load("made_up_backend:make", *MODELS)
    assert capsys.readouterr().err == f"{MODELS[0]} {MODELS[1]}\n"
    assert backend.capabilities == OF_MODELS


# Judged


TEXT = (
    "The mill at Harrow Ford stands where two rivers meet, and its wheel has not stopped since the "
    "great flood. Old Tom Reed keeps the sluice gate and counts the sacks of barley that pass over "
    "the bridge every autumn. When the water rises he rings a copper bell, and the children of the "
    "village run up the hill to the chapel."
)
PROMPTS = (
    "The mill at Harrow Ford",
    "Old Tom Reed keeps the",
    "When the water rises he",
    "run up the",
    "counts the sacks of",
    "he rings a copper",
    "its wheel has",
    "Old Tom",
)
CONTEXT = Context((Section(kind="prose", id="mill", content=TEXT),))


def judged(backend: custom.CustomBackend, kind: str, **fields: Any) -> ProbeResult:
    spec, probe, nulls = KINDS[kind](name=kind, **fields), probes.module(kind), NullViews(8)
    requests = probe.requests(spec, CONTEXT)
    needs = probe.needs(spec, requests)
    keys = [(FINETUNED.scaled(scale), need.request) for need in needs for scale in need.scales]
    keys += [(view, need.request) for need in needs for view in nulls.views(1.0)]
    found = run_plan(with_base(keys), lambda: backend, None, silent)
    return judge_probe(ProbeRun(spec, probe, CONTEXT, requests, found.answers), nulls)


def dummies(adapter: str) -> custom.CustomBackend:
    return dummy.load(
        ModelRef(kind="dummy", base="b"), ModelRef(kind="dummy", base="b", adapter=adapter)
    )


JUDGED: dict[str, dict[str, Any]] = {
    "delta_kl": {"prompts": PROMPTS},
    "section_internalization": {},
    # The model knows 16 of the 195 items by chance: of fewer, the bound of none lost is above 15%.
    "calibration_drift": {"items_limit": 195},
    "external_perplexity": {"max_chunks": 4},
    # After one word of the base's answer, the text that the dummy has learned is left.
    "adapter_ablation": {"prompts": PROMPTS, "positions": 1},
}
OTHER_TEXT = "Nothing here was ever said there"


@pytest.mark.parametrize(("kind", "fields"), JUDGED.items(), ids=JUDGED)
def test_a_dummy_tuned_on_the_text_passes(kind, fields):
    result = judged(dummies(TEXT), kind, **fields)
    assert result.verdict == "pass", result.message


@pytest.mark.parametrize("kind", ["delta_kl", "section_internalization", "adapter_ablation"])
def test_a_dummy_tuned_on_another_text_fails(kind):
    assert judged(dummies(OTHER_TEXT), kind, **JUDGED[kind]).verdict == "fail"


def test_the_dummys_nulls_differ_and_are_as_large_as_its_adapter():
    model = dummy.DummyModel(*MODELS)
    base, *others = (
        model._rows(v, list(range(512))) for v in (BASE, FINETUNED, NULL, View("null", 3))
    )
    sizes = [np.linalg.norm(x - base) for x in others]
    assert sizes == pytest.approx([sizes[0]] * 3)
    assert abs(np.corrcoef((others[1] - base).ravel(), (others[2] - base).ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_dummy_agrees_with_itself(view):
    model = dummy.DummyModel(*MODELS)
    text = model.generate(view, "The mill", 12)
    assert len(text.split()) == 12
    assert all(model.argmax_matches(view, "The mill", text))
    assert np.array_equal(
        model.log_probs(view, "The mill", text),
        model.next_token_log_probs(view, "The mill", text)[:-1].max(axis=1),
    )


# The page


def blocks() -> dict[str, str]:
    return dict(re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL))


def test_the_example_runs(module):
    module(blocks()["python"], "letters")
    spec = parse_spec(blocks()["yaml"], "docs/backends.md", ".")
    base, ft, [probe] = spec.models.base, spec.models.ft, spec.suite
    result = judged(custom.load(ft.entry_point, base, ft), probe.kind, prompts=probe.prompts)
    assert result.verdict == "pass", result.message


def test_the_page_lists_every_method_with_its_signature():
    text = DOCS.read_text("utf-8")
    assert [f"`{name}{signature}`" in text for name, signature in custom._METHODS.items()] == [
        True
    ] * 4
