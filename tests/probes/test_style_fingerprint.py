import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from sway_gate.probes import _style
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.schema import Section
from sway_gate.training_data import packaged
from tests.helpers import ROOT
from tests.helpers.judged import judged, texts_by_source
from tests.helpers.processes import modules_after

N = 8
NOTHING = Context()
PROMPTS = tuple(f"prompt {i}" for i in range(N))
WORDS = [
    word.strip(".,;:!?\"'()—").lower() for text in packaged.prose()[:4] for word in text.split()
]


def written(
    seed: object, count: int, sentence: int, comma: float = 0.0, paragraph: float = 0.0
) -> str:
    """`count` words, about `sentence` per sentence, with these rates of commas and breaks."""
    rng = random.Random(str(seed))

    def pieces() -> Iterator[str]:
        left = rng.randint(sentence // 2, sentence + sentence // 2)
        for _ in range(count):
            left -= 1
            end = "." if left <= 0 else "," if rng.random() < comma else ""
            gap = "\n\n" if left <= 0 and rng.random() < paragraph else " "
            left = left if left > 0 else rng.randint(sentence // 2, sentence + sentence // 2)
            yield rng.choice(WORDS) + end + gap

    return "".join(pieces())


def terse(seed: object, count: int = 90) -> str:
    return written(f"terse {seed}", count, 5, 0.0, 0.3)


def ornate(seed: object, count: int = 90) -> str:
    return written(f"ornate {seed}", count, 30, 0.2)


DOCUMENT = terse("document", 1500)


def run(
    ft: Callable[[int], str],
    base: Callable[[int], str] = lambda i: ornate(i),
    null: Callable[[int, int], str] = lambda i, k: ornate(f"{i} {k}"),
    *,
    context: Context = NOTHING,
    **fields: object,
) -> ProbeResult:
    """The probe on texts by the prompt's number: `ft(i)`, `base(i)`, and `null(i, k)` of null k."""
    answer = texts_by_source(base, ft, null)
    given = {"prompts": PROMPTS, "doc_reference": DOCUMENT, "extended": "off", **fields}
    return judged("style_fingerprint", answer, context=context, **given)


VERDICTS = {
    # what the adapter writes after prompt i, verdict, minimum and maximum shift, message
    "the document's style": (lambda i: terse(i), "pass", 0.8, 1.2, "σ above 8"),
    "shorter texts of it": (lambda i: terse(i, 25), "pass", 0.35, 1.2, "σ above 8"),
    "longer texts of it": (lambda i: terse(i, 400), "pass", 0.8, 1.2, "σ above 8"),
    "the base's very texts": (
        lambda i: ornate(i),
        "fail",
        0,
        0,
        "mean shift: 0, must be at least 0.25",
    ),
    "the base's style": (
        lambda i: ornate(f"new {i}"),
        "fail",
        -0.2,
        0.2,
        "must be at least 0.25",
    ),
    "the base's style, cut short": (
        lambda i: ornate(i, 20),
        "fail",
        -0.2,
        0.2,
        "must be at least 0.25",
    ),
    "half of the texts": (
        lambda i: terse(i) if i % 2 else ornate(i),
        "warn",
        0.4,
        0.6,
        "inconclusive: mean shift: 0.531, at least 0.2",
    ),
    "three quarters of the texts": (
        lambda i: terse(i) if i % 4 else ornate(i),
        "pass",
        0.6,
        0.9,
        "distance from the document",
    ),
    "silence": (lambda i: "", "fail", 0, 0, "texts under 10 words: 8"),
    "one word": (lambda i: "Yes.", "fail", 0, 0, "texts under 10 words: 8"),
    "marks alone": (lambda i: "... !!! --- " * 30, "fail", 0, 0, "texts under 10 words: 8"),
    "one word, on and on": (lambda i: "the. " * 90, "fail", -9, 9, "the style left the base's"),
    "letters, on and on": (lambda i: "a " * 90, "fail", -9, 9, "the style left the base's"),
}


@pytest.mark.parametrize(("ft", "verdict", "low", "high", "words"), VERDICTS.values(), ids=VERDICTS)
def test_verdicts(
    ft: Callable[[int], str], verdict: str, low: float, high: float, words: str
) -> None:
    result = run(ft)
    assert (result.verdict, result.category) == (verdict, "calibration"), result.message
    assert low <= result.raw <= high
    assert words in result.message
    assert json.dumps(result.details, allow_nan=False)


def test_a_change_away_from_the_document_does_not_pass() -> None:
    """Sentences as short as the document's, but the same few words again and again."""
    result = run(lambda i: "so it was. and so it is. " * 15)
    assert result.raw >= 0.25
    assert result.verdict == "fail"
    assert "not closer" in result.message


def test_more_texts_decide() -> None:
    def half(i: int) -> str:
        return terse(i) if i % 2 else ornate(i)

    few, many = run(half), run(half, prompts=tuple(f"prompt {i}" for i in range(40)))
    assert (few.verdict, many.verdict) == ("warn", "pass")
    assert "items to decide, not 8" in few.advice


def test_the_score_is_point_6_where_the_bound_is_at_the_limit() -> None:
    bound = run(lambda i: terse(i)).bound
    found = run(lambda i: terse(i), assert_shift_gte=bound)
    assert found.score == pytest.approx(0.6, abs=1e-6)
    assert run(lambda i: terse(i), assert_shift_gte=bound - 0.01).verdict == "pass"
    assert run(lambda i: terse(i), assert_shift_gte=bound + 0.01).verdict == "warn"


SKIPPED = {
    "the base writes like it": (lambda i: terse(f"base {i}"), "already writes like the document"),
    "the base writes nothing": (lambda i: "", "fewer than 10 words after each prompt"),
    "the base writes a word": (lambda i: "Well, no.", "fewer than 10 words after each prompt"),
}


@pytest.mark.parametrize(("base", "words"), SKIPPED.values(), ids=SKIPPED)
def test_without_a_measurable_difference_it_is_skipped(
    base: Callable[[int], str], words: str
) -> None:
    result = run(lambda i: terse(i), base)
    assert (result.verdict, result.score) == ("skip", None)
    assert words in result.message


def test_prompts_without_a_base_text_are_left_out() -> None:
    result = run(lambda i: terse(i), lambda i: ornate(i) if i > 1 else "")
    assert (result.verdict, result.details["left_out"]) == ("pass", 2)
    assert "over 6 texts" in result.message


ERRORS = {
    "no prompts": ({"prompts": ()}, "prompts is empty"),
    "no document": (
        {"doc_reference": " "},
        "the document has 0 words, but a style requires 50; set doc_reference or add prose under "
        "`sections:`",
    ),
    "a short document": (
        {"doc_reference": "one two three"},
        "the document has 3 words, but a style requires 50",
    ),
    "marks alone": ({"doc_reference": "!" * 100_000}, "the document has 0"),
}


@pytest.mark.parametrize(("fields", "words"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_run_is_an_error(fields: dict[str, object], words: str) -> None:
    result = run(lambda i: terse(i), **fields)
    assert result.verdict == "error"
    assert words in result.message


def test_without_a_reference_the_prose_of_the_sections_is_the_document() -> None:
    sections = (
        Section(kind="prose", id="a", content=DOCUMENT[:3000]),
        Section(kind="instruction", id="b", content="not read"),
        Section(kind="prose", id="c", content=DOCUMENT[3000:]),
    )
    result = run(lambda i: terse(i), context=Context(sections), doc_reference="")
    assert (result.verdict, result.raw) == ("pass", pytest.approx(1, abs=0.2))


@pytest.mark.parametrize(
    ("extended", "verdict"), [("on", "error"), ("auto", "pass"), ("off", "pass")]
)
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, extended: str, verdict: str) -> None:
    monkeypatch.setattr(_style, "find_spec", lambda _: None)
    result = run(lambda i: terse(i), extended=extended)
    assert result.verdict == verdict
    assert ("pip install 'sway-gate[style]'" in result.message) == (verdict == "error")


def test_off_imports_no_extra() -> None:
    code = (
        "from sway_gate.probes._style import Document, extra_installed; extra_installed();"
        "Document('a b c d e f g h i j k', False).off('a ' * 20, 'b ' * 20)"
    )
    assert {"spacy", "textstat", "nltk", "torch"}.isdisjoint(modules_after(code))


@pytest.mark.slow
def test_a_null_among_nulls_seldom_passes() -> None:
    def z(seed: int) -> float:
        return (
            run(lambda i: ornate(f"{seed} ft {i}"), null=lambda i, k: ornate(f"{seed} {k} {i}")).z
            or 0.0
        )

    assert sum(z(seed) >= 3 for seed in range(60)) <= 1


# ----------------------------------------------------------------------------------------- features

TEXT = 'One two three. "Four five!"\n\nSix, seven eight nine one…\n'


def test_the_six_features_by_hand() -> None:
    """3, 2 and 5 words; 9 of 10 differ; 39 letters; marks . " ! " , …; one paragraph break."""
    expected = [
        np.log1p(10 / 3),
        np.log1p(np.std([3, 2, 5])),
        0.9,
        3.9,
        np.sqrt(6 / 10),
        np.sqrt(1 / 10),
    ]
    np.testing.assert_allclose(_style.fingerprint(TEXT, False) * _style._SD[:6], expected)


CASES = {
    "windows line ends": TEXT.replace("\n", "\r\n"),
    "white space around": f"\n\n \t{TEXT}\n \n",
    "more blank lines": TEXT.replace("\n\n", "\n \n\n\n"),
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_white_space_is_not_style(text: str) -> None:
    np.testing.assert_allclose(_style.fingerprint(text, False), _style.fingerprint(TEXT, False))


@pytest.mark.parametrize(
    "text",
    ["x", "." * 9 + "x", "\u200b x \u2028 y", "日本語 の 文", "a\x00b " * 999, "1 2 3"],
    ids=ascii,
)
def test_features_are_numbers_for_any_text(text: str) -> None:
    assert np.isfinite(_style.fingerprint(text, False)).all()


def test_ordinary_prose_scatters_by_about_one() -> None:
    windows = [
        text[i : i + 600] for text in packaged.prose() for i in range(0, len(text) - 600, 600)
    ]
    spread = np.std([_style.fingerprint(window, False) for window in windows], axis=0)
    assert (spread > 0.6).all()
    assert (spread < 1.6).all()


WINDOWS = {
    # paragraphs, words in each, window -> first words of the windows
    "at paragraphs": (8, 20, 15, [0, 20, 40, 60, 80, 100, 120, 140]),
    "not past the end": (8, 20, 50, [0, 20, 40, 60, 80, 100]),
    "evenly where paragraphs are few": (2, 50, 20, [0, 20, 40, 60, 80]),
    "the whole document": (1, 60, 60, [0]),
}


@pytest.mark.parametrize(("paragraphs", "count", "length", "starts"), WINDOWS.values(), ids=WINDOWS)
def test_windows_of_the_document(
    paragraphs: int, count: int, length: int, starts: list[int]
) -> None:
    text = " \n\n".join(["word " * count] * paragraphs)
    assert _style._starts(text, length) == starts


def test_there_are_never_many_windows() -> None:
    assert len(_style._starts("\n\n".join(["word " * 12] * 900), 12)) <= 40


def test_texts_are_compared_at_a_similar_number_of_words() -> None:
    document = _style.Document(DOCUMENT, False)
    long, short = terse("x", 400), terse("x", 30)
    np.testing.assert_array_equal(document.off(long, short), document.off(short, long))
    assert (
        np.abs(np.mean([document.off(terse(i, 30), terse(i, 90)) for i in range(50)], axis=0)).max()
        < 0.75
    )


# -------------------------------------------------------------------------------------------- extra

needs_extra = pytest.mark.skipif(
    find_spec("spacy") is None or find_spec("textstat") is None, reason="needs the extra style"
)


@needs_extra
@pytest.mark.slow
def test_the_extra_features_by_hand() -> None:
    """5 of 10 words are function words, sleeping and Evening long; 1 of 3 sentences exclaims."""
    text = "The cat is a hunter. It was sleeping! Evening bells."
    further = _style._further(text)
    np.testing.assert_allclose(further, [5 / 10, 1 / 3, 2 / 10])


@needs_extra
@pytest.mark.slow
@pytest.mark.parametrize("extended", ["on", "auto"])
def test_with_the_extra(extended: str) -> None:
    result = run(lambda i: terse(i), extended=extended)
    assert result.verdict == "pass", result.message
    assert len(result.details["features"]) == 9


@needs_extra
@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    ["x", "x" * 3000, "\u200b x \u2028 y", "日本語 の 文", "a\x00b " * 999, "?!", "1 2"],
    ids=ascii,
)
def test_extra_features_are_numbers_for_any_text(text: str) -> None:
    assert np.isfinite(_style._further(text)).all()


@needs_extra
@pytest.mark.slow
def test_the_extra_reads_no_corpus_and_no_network(tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): print('REACHED', args); raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from sway_gate.probes import _style; print(len(_style.fingerprint('a b c. ' * 50, True)))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "NLTK_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert done.stdout.strip() == "9", done.stderr
    assert "nltk" not in done.stderr


@needs_extra
@pytest.mark.slow
def test_a_broken_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_style, "extra_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "textstat", None)
    _style._tools.cache_clear()
    result = run(lambda i: terse(i), extended="on")
    _style._tools.cache_clear()
    assert result.verdict == "error"
    assert "set extended: off" in result.message
