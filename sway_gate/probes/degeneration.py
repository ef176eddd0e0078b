"""Are the answers that it writes broken?

The base and the fine-tuned model answer general requests and some prompts of the data by greedy
decoding, in the register in which the model is served. An answer is broken (neural text
degeneration, Holtzman et al. 2020) if it is

- empty: without a letter, a digit or a symbol
- looping: the end is one phrase at least three times in a row, over at least 24 characters and a
  quarter of the text
- repetitive, in at least 16 words: rep-4, the share of 4-grams of words that repeat earlier ones,
  is at least .4 (Welleck et al. 2020), or distinct-1, the share of different words, is at most .3
  in 20 words in a row (Li et al. 2016), as in most gibberish
- echo: only the prompt
- template text: it contains a special token, "### Response" or a role such as "Assistant:"
- other script: at least 30% of the letters, or only symbols, such as emoji; or other language, by
  function words of seven European languages
- same answer: the answer to at least 3 different general requests
- refusal: an answer that begins as a refusal in English, or after one short sentence. The general
  requests are harmless. Allowed if a tenth of the data's answers refuse

The base's answer, the prompt and the data's answers decide which scripts, languages and template
texts are expected. Repetition is allowed if a tenth of the data's answers repeat. A wanted style
or a short answer is not broken.

Statistic: the share of broken answers. Harm probe with margins at `assert_broken_lt`:

- the increase over the base on the same prompts (score test for matched pairs; Tango 1998), because
  small models sometimes loop before any training. Answers to prompts of the data that training
  repaired do not make up for broken answers to general requests
- the same increase on short questions, if they are too few to show it, or one is newly broken
- the same increase on at least 12 prompts of the data, if it reaches the margin
- the increase over all of these answers, if each of these increases is below the margin. It is
  judged only if its estimate is at least three quarters of the margin, which is then its limit
- the right answers to short questions that are lost, less those gained, as a share of the base's
  right answers, at `assert_right_lost_lt`, if the difference is at least two. An answer is right if
  it contains the true one. Measured: healthy adapters lost up to 25%, those that no longer answer
  such questions 45% and more. Not judged if the data is not in English. If the data has labels or
  JSON, questions that are answered so do not count, and at least half of them must be left
- the share of the data's answers that do not end (score test; Wilson 1927): after the true answer,
  the token that ends it is not the most probable one, although it is for the base, or although the
  adapter has learned the answer and the base does not know it (80% of its tokens are the most
  probable ones). Reaching `max_new_tokens` is not a fault. Rows too few to decide count only if one
  of them does not end

A fragment is an answer of 1 to 4 words to an open request that the other model answers with at
least 16: "playing piano" instead of an explanation. It is usable text, so it is not broken, but an
adapter that was trained on titles or queries can lose all other answers to it. The increase of
fragments over the base must stay below `assert_fragments_lt`. A single one can be right, so it
counts only if it exceeds the margin. They are allowed if a tenth of the data's answers have at most
4 words.

Data of labels, where nine of ten answers have at most 3 words, or of JSON, where nine of ten are
JSON or function calls: such an answer to a general request is not broken, because the adapter may
be served for its task only. The message and the details state their number: for a model that also
chats, it is a harm.

General requests are the first `prompts_limit` of the packaged open requests, and as many of the
packaged short questions, such as the capital of a country: a narrow adapter often breaks first
where it should answer in a few words. `prompts`, if the entry has them, take the place of both.
`data_prompts` is the number of prompts of the data, of preferences four times as many, at most 48:
the chosen answer can stay likelier than the rejected one while the model writes neither of them. If
a quantity is inconclusive and outside its margin, or within 1.5 standard errors of it, up to four
times as many requests and prompts decide. It does not show whether an answer to an open request is
true, or whether fluent text makes sense.

- passes: 2 of 30 answers broken (base 1): 1 looping, 1 echo; 0 of 28 of the data's answers do not
  end
- fails: 21 of 30 answers broken (base 1): 18 looping, 3 empty; 28 of 28 of the data's answers do
  not end

In a suite; `assert_z_gte` is accepted and has no effect, the margins decide:

    - name: writes
      kind: degeneration
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from msgspec import structs

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import Details, Item, WrittenAnswer
from sway_gate.measurements import Floats, Generation, Request, TeacherForced, ViewAnswers
from sway_gate.probes._recall import geometric_mean
from sway_gate.probes.base import Bound, Context, DataRow, Kind, Need, Reading, Supply
from sway_gate.probes.written import (
    Expected,
    Flaw,
    ends_in_a_loop,
    flaws,
    is_refusal,
    is_repetitive,
    is_structured,
    language,
    normal,
    repeated_answers,
    words_in,
)
from sway_gate.results import Symptom
from sway_gate.spec.probes import Degeneration
from sway_gate.spec.schema import Preference
from sway_gate.stats import Z_95, Margin, fraction_below, paired_fraction_below
from sway_gate.text import counted
from sway_gate.training_data import packaged
from sway_gate.training_data.collected import thinned

KIND = Kind(
    category="calibration",
    units="share",
    resolution=0.01,
    better="less",
    best=0.0,
    harm=True,
    generates=True,
    symptom="broken",
)

_MAX_ROWS, _MORE = 24, 4
_MOST_OF_DATA, _MIN_OF_DATA = 48, 12
"""Prompts of the data: the most, and the fewest that are judged apart from general requests."""
_LEARNED = 0.8
_LABEL_WORDS, _MOST, _SOME = 3, 0.9, 0.1
_FRAGMENT, _ANSWER = 4, 16
"""Words of a fragment, and at least of an answer. Measured in 24 answers: healthy adapters write at
most 3 fragments, adapters at three or four times their scale 11 to 16."""
_OF_ALL = 0.75
"""All answers together are more than those of one kind, so they can show a smaller increase.
Measured in 54 answers: healthy adapters up to .11, those that a person would not use from .17."""


class Requests(NamedTuple):
    """`open` and `questions` are the general requests; `golds`: the true answers to the questions.
    `expected`: what the data's answers contain. `labels`: the labels that it contains. `is_json`:
    whether its answers are JSON. `may_refuse`, `may_be_brief`: whether some of them are refusals,
    or fragments. `is_english`: whether they are not clearly in another language."""

    open: list[Generation]
    questions: list[Generation]
    golds: list[str]
    own: list[Generation]
    own_rows: list[DataRow]
    rows: list[TeacherForced]
    expected: Expected
    labels: frozenset[str]
    is_json: bool
    may_refuse: bool
    may_be_brief: bool
    is_english: bool

    @property
    def general(self) -> list[Generation]:
        return self.open + self.questions

    @property
    def written(self) -> list[Generation]:
        return self.general + self.own


class Endings(Item, frozen=True, kw_only=True):
    """Rows of the data by whether their answer ends; probabilities of the ending token: medians."""

    rows: int
    unended: int
    base_unended: int
    end_probability: float
    base_end_probability: float


class RightAnswers(Item, frozen=True, kw_only=True):
    """Short questions answered right by each model; `lost`: only by the base. `questions`: those
    that count, because the answer is not a label or JSON as in the data."""

    questions: int
    base: int
    finetuned: int
    lost: int


class Found(Details, frozen=True, kw_only=True):
    """`broken`, `base_broken`, `newly_broken`: of all answers but those to short questions. `open`:
    number of open requests, whose answers come first; `questions`: of short questions, whose
    answers follow. `labels`, `json`: general requests answered with a label or with JSON, if the
    data has such answers. `fragments`: open requests answered with a fragment by the fine-tuned
    model only, `base_fragments`: by the base only."""

    broken: int
    base_broken: int
    newly_broken: int
    open: int = 0
    questions: int = 0
    labels: int
    json: int
    fragments: int = 0
    base_fragments: int = 0
    right_answers: RightAnswers | None = None
    endings: Endings | None
    answers: list[WrittenAnswer]

    @property
    def longer(self) -> list[WrittenAnswer]:
        """The answers to open requests and to prompts of the data."""
        return self.answers[: self.open] + self.own

    @property
    def own(self) -> list[WrittenAnswer]:
        return self.answers[self.open + self.questions :]

    @property
    def short(self) -> list[WrittenAnswer]:
        return self.answers[self.open : self.open + self.questions]


def requests(spec: Degeneration, context: Context) -> Requests:
    limit, tokens = spec.prompts_limit, spec.max_new_tokens
    prompts = (spec.prompts or packaged.chat_prompts())[:limit]
    choices = () if spec.prompts else packaged.choices()[:limit]
    rows = list(dict.fromkeys(context.row(pair) for s in context.sections for pair in s.pairs))
    count = min(spec.data_prompts * (_MORE if _are_preferences(context) else 1), _MOST_OF_DATA)
    own_rows = list({row.prompt: row for row in thinned(rows, count)}.values())
    own = [Generation(row.prompt, tokens) for row in own_rows]
    scored = [row.teacher_forced() for row in thinned(rows, _MAX_ROWS)]
    answers = [completion_text(row.answer) for row in rows]
    return Requests(
        [context.generation(prompt, tokens) for prompt in prompts],
        [context.generation(choice.question, tokens) for choice in choices],
        [choice.gold.strip() for choice in choices],
        own,
        own_rows,
        scored,
        _expected(answers),
        _labels(answers),
        is_json=_reach(_MOST, map(is_structured, answers)),
        may_refuse=_reach(_SOME, map(is_refusal, answers)),
        may_be_brief=_reach(_SOME, (_length(answer) <= _FRAGMENT for answer in answers)),
        is_english=_is_english(rows, answers),
    )


def extended(spec: Degeneration) -> Degeneration | None:
    limit, most = spec.prompts_limit, len(packaged.chat_prompts())
    if spec.prompts or limit >= most:
        return None
    data_prompts = min(_MORE * spec.data_prompts, _MOST_OF_DATA)
    return structs.replace(spec, prompts_limit=min(_MORE * limit, most), data_prompts=data_prompts)


def needs(spec: Degeneration, requests: Requests) -> list[Need]:
    wanted: list[Request] = [*requests.written, *requests.rows]
    return [Need(request, of_nulls=False) for request in wanted]


def value(
    spec: Degeneration, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    answers = _answered(requests, view)
    general = [view.text(request) for request in requests.general]
    first, last = len(requests.open), len(requests.general)
    opened, short, own = answers[:first], answers[first:last], answers[last:]
    longer = opened + own
    broken = [bool(answer.flaws) for answer in longer]
    found = Found(
        broken=sum(broken),
        base_broken=sum(bool(answer.base_flaws) for answer in longer),
        newly_broken=sum(map(_is_newly_broken, longer)),
        open=len(opened),
        questions=len(requests.questions),
        labels=sum(normal(text) in requests.labels for text in general),
        json=sum(map(is_structured, general)) if requests.is_json else 0,
        fragments=sum(answer.is_fragment for answer in opened),
        base_fragments=sum(_is_fragment(answer.base, answer.finetuned) for answer in opened),
        right_answers=_right(requests, short),
        endings=_endings(requests, view),
        answers=answers,
    )
    items = np.array(broken, dtype=np.float64)
    return Reading(float(items.mean()), items, found)


def bounds(spec: Degeneration, reading: Reading[Found]) -> list[Bound]:
    found, share = reading.details, reading.error_share
    return [
        *_of_broken(spec, found, share),
        *_of_fragments(spec, found, share),
        *_of_right_answers(spec, found, share),
        *_of_endings(spec, found),
    ]


def _of_broken(spec: Degeneration, found: Found, error_share: float) -> Iterator[Bound]:
    of_data = found.own if len(found.own) >= _MIN_OF_DATA else []
    longer = _of_kind(spec, found.longer, "", error_share)
    own = _of_kind(spec, of_data, " to the data's prompts", error_share)
    short = _of_kind(spec, found.short, " to short questions", error_share)
    if longer:
        yield longer
    if own and own.test.z <= 0:  # few answers cannot show that the increase is smaller
        yield own
    if short and (any(map(_is_newly_broken, found.short)) or short.test.z <= Z_95):
        yield short
    if short and all(bound.test.z >= 0 for bound in (longer, own, short) if bound):
        yield from _of_all_broken(spec, found, error_share)


def _of_kind(
    spec: Degeneration, answers: Sequence[WrittenAnswer], words: str, error_share: float
) -> Bound | None:
    """The increase of broken answers of one kind; None if there are no such answers."""
    if not answers:
        return None
    test = _increase(answers, spec.assert_broken_lt, error_share)
    return Bound(
        f"increase of broken answers{words}",
        test,
        spec.assert_broken_lt,
        is_upper=True,
        symptom=_symptom(answers),
        n=len(answers),
    )


def _of_all_broken(spec: Degeneration, found: Found, error_share: float) -> Iterator[Bound]:
    answers, limit = found.longer + found.short, round(_OF_ALL * spec.assert_broken_lt, 9)
    test = _increase(answers, limit, error_share)
    if test.z < 0:
        most = 2 * len(packaged.chat_prompts()) + _MOST_OF_DATA
        yield Bound(
            "increase of broken answers in all",
            test,
            limit,
            is_upper=True,
            symptom=_symptom(answers),
            n=len(answers),
            supply=Supply(most, "answers"),
        )


def _of_fragments(spec: Degeneration, found: Found, error_share: float) -> Iterator[Bound]:
    margin, n = spec.assert_fragments_lt, found.open
    if found.fragments > min(1.0, margin * n):
        test = paired_fraction_below(found.fragments, found.base_fragments, n, margin, error_share)
        yield Bound("increase of fragments", test, margin, is_upper=True, symptom="broken", n=n)


def _of_right_answers(spec: Degeneration, found: Found, error_share: float) -> Iterator[Bound]:
    """The answers lost, less those gained, are a share of the base's right answers."""
    margin, right = spec.assert_right_lost_lt, found.right_answers
    if right is None or right.base - right.finetuned < 2 or 2 * right.questions < found.questions:
        return
    n = right.questions
    gained, known = right.finetuned - right.base + right.lost, right.base / n
    test = paired_fraction_below(right.lost, gained, n, margin * known, error_share)
    scaled = Margin(test.z, test.bound / known, test.estimate / known)
    quantity = "share of right answers to short questions lost"
    refusals = sum("refusal" in {*a.flaws} - {*a.base_flaws} for a in found.short)
    symptom: Symptom = "refuses more" if 2 * refusals > right.lost else "forgot"
    yield Bound(quantity, scaled, margin, is_upper=True, symptom=symptom, n=n)


def _of_endings(spec: Degeneration, found: Found) -> Iterator[Bound]:
    """A second look reads the same rows, so the test has the whole error in both."""
    ends, limit = found.endings, spec.assert_broken_lt
    if ends is None:
        return
    test = fraction_below(ends.unended, ends.rows, limit)
    if ends.unended or test.z > Z_95:
        is_broken = _increase(found.longer, limit, 1.0).z < 0
        yield Bound(
            "share of the data's answers that do not end",
            test,
            limit,
            is_upper=True,
            symptom="broken" if is_broken else "never ends",
            n=ends.rows,
            supply=Supply.of_rows(_MAX_ROWS),
        )


def summary(spec: Degeneration, reading: Reading[Found]) -> str:
    found = reading.details
    parts = [f"{_broken(found.longer)} broken{_flaws_in(found.longer)}"]
    if any(answer.flaws for answer in found.short):
        parts.append(f"{_broken(found.short)} to short questions{_flaws_in(found.short)}")
    for count, what in ((found.labels, "a label"), (found.json, "JSON")):
        if count:
            parts.append(f"{counted(count, 'general request')} answered with {what}")
    if found.fragments:
        parts.append(f"{counted(found.fragments, 'open request')} answered with a fragment")
    if (right := found.right_answers) and right.base + right.finetuned:
        parts.append(
            f"short questions answered right {right.base} → {right.finetuned} of {right.questions}"
        )
    if found.endings:
        ends = found.endings
        parts.append(f"{ends.unended} of {ends.rows} of the data's answers do not end")
    return "; ".join(parts)


def _broken(answers: Sequence[WrittenAnswer]) -> str:
    return f"{sum(bool(one.flaws) for one in answers)} of {counted(len(answers), 'answer')}"


def _flaws_in(answers: Sequence[WrittenAnswer]) -> str:
    kinds = Counter(flaw for answer in answers for flaw in answer.flaws)
    listed = ", ".join(f"{n} {flaw}" for flaw, n in kinds.most_common())
    base = sum(bool(answer.base_flaws) for answer in answers)
    return f" (base {base})" + (f": {listed}" if listed else "")


def _increase(answers: Sequence[WrittenAnswer], limit: float, error_share: float) -> Margin:
    newly = sum(map(_is_newly_broken, answers))
    # Repaired answers to prompts of the data make up for broken ones of this kind only.
    repaired = [bool(one.base_flaws) and not one.flaws for one in answers]
    own = [one.of_data for one in answers]
    of_data = sum(map(_is_newly_broken, compress(answers, own)))
    recovered = sum(repaired) - max(0, sum(compress(repaired, own)) - of_data)
    return paired_fraction_below(newly, recovered, len(answers), limit, error_share)


def _is_newly_broken(answer: WrittenAnswer) -> bool:
    return bool(answer.flaws) and not answer.base_flaws


def _symptom(answers: Sequence[WrittenAnswer]) -> Symptom:
    """What broken answers mean: most of them refuse, or the model is broken."""
    refusals = sum("refusal" in answer.flaws for answer in answers)
    broken = sum(bool(answer.flaws) for answer in answers)
    return "refuses more" if 2 * refusals > broken else "broken"


def _is_fragment(answer: str, other: str) -> bool:
    return 0 < _length(answer) <= _FRAGMENT and _length(other) >= _ANSWER


def _length(answer: str) -> int:
    """Number of words; of scripts without spaces between words, of characters."""
    return max(len(answer.split()), len(words_in(answer)))


def _are_preferences(context: Context) -> bool:
    return all(isinstance(p, Preference) for section in context.sections for p in section.pairs)


def _expected(answers: Sequence[str]) -> Expected:
    repeats = _reach(_SOME, (ends_in_a_loop(a) or is_repetitive(a) for a in answers))
    return Expected(repetition=repeats).including(answers)


def _is_english(rows: Sequence[DataRow], answers: Sequence[str]) -> bool:
    """Whether the data can be in English: labels and JSON are in no language, their prompts are."""
    texts = " ".join(answers), " ".join(prompt_text(row.prompt) for row in rows)
    return next(filter(None, map(language, texts)), "English") == "English"


def _labels(answers: Sequence[str]) -> frozenset[str]:
    """The distinct answers of data of labels; empty for other data."""
    short = [len(answer.split()) <= _LABEL_WORDS for answer in answers]
    return frozenset(map(normal, compress(answers, short))) if _reach(_MOST, short) else frozenset()


def _reach(share: float, found: Iterable[bool]) -> bool:
    """Whether at least this share is true, of at least one."""
    flags = list(found)
    return bool(flags) and sum(flags) >= share * len(flags)


def _answered(requests: Requests, view: ViewAnswers) -> list[WrittenAnswer]:
    own = _flaws(requests, view, [view.text(r) for r in requests.written])
    base = _flaws(requests, view, [view.base_text(r) for r in requests.written])
    further = [
        *(_as_fragment(request, requests, view) for request in requests.open),
        *({"answer": gold} for gold in requests.golds),
        *(_true_answer(row, requests, view) for row in requests.own_rows),
    ]
    return [
        WrittenAnswer(
            prompt=prompt_text(request.prompt),
            base=view.base_text(request),
            finetuned=view.text(request),
            flaws=list(now),
            base_flaws=list(before),
            **known,
        )
        for request, known, now, before in zip(requests.written, further, own, base, strict=True)
    ]


def _right(requests: Requests, answers: Sequence[WrittenAnswer]) -> RightAnswers | None:
    """None if the adapter may answer in another language. A label or JSON instead of an answer is
    not counted if the data has such answers."""
    if not answers or not requests.is_english:
        return None
    pairs = [
        (_contains(one.base, one.answer), _contains(one.finetuned, one.answer))
        for one in answers
        if not _is_of_task(one.finetuned, requests)
    ]
    return RightAnswers(
        questions=len(pairs),
        base=sum(base for base, _ in pairs),
        finetuned=sum(now for _, now in pairs),
        lost=sum(base and not now for base, now in pairs),
    )


def _is_of_task(answer: str, requests: Requests) -> bool:
    """Whether it is an answer such as the data has, with labels or JSON."""
    return normal(answer) in requests.labels or (requests.is_json and is_structured(answer))


def _contains(answer: str, gold: str) -> bool:
    """Whether the words of the gold follow one another in the answer."""
    return f" {normal(gold)} " in f" {normal(answer)} "


def _as_fragment(request: Generation, requests: Requests, view: ViewAnswers) -> dict[str, Any]:
    is_fragment = _is_fragment(view.text(request), view.base_text(request))
    return {"is_fragment": is_fragment and not requests.may_be_brief}


def _true_answer(row: DataRow, requests: Requests, view: ViewAnswers) -> dict[str, Any]:
    """The answer of the data, and its probability if the row is scored."""
    found: dict[str, Any] = {"of_data": True, "answer": completion_text(row.answer).strip()}
    scored = row.teacher_forced()
    if scored in requests.rows:
        found["base_probability"] = geometric_mean(view.base(scored))
        found["probability"] = geometric_mean(view.get(scored))
    return found


def _flaws(requests: Requests, view: ViewAnswers, answers: Sequence[str]) -> list[list[Flaw]]:
    """The flaws of each answer to `requests.written`."""
    found = []
    for request, answer in zip(requests.written, answers, strict=True):
        prompt = prompt_text(request.prompt)
        expected = requests.expected.including((prompt, view.base_text(request)))
        found.append(flaws(answer, prompt, expected))
    general = answers[: len(requests.general)]
    repeated = repeated_answers(general, requests.labels)
    for i, answer in enumerate(answers):
        if not is_refusal(answer):
            found[i] += ["same answer"] if i in repeated else []
        elif not requests.may_refuse:
            found[i].append("refusal")
    return found


class _Ending(NamedTuple):
    """An answer of the data under one view: is it known, does it end, probability of the end."""

    is_known: bool
    ends: bool
    probability: float


def _ending(tokens: Floats) -> _Ending | None:
    """From teacher-forced tokens [tokens, 4]; None if the template does not end the answer."""
    log_p, is_first, is_end = tokens.T[:3]
    if not is_end.any():
        return None
    at = int(is_end.argmax())
    is_known = at > 0 and float(is_first[:at].mean()) >= _LEARNED
    return _Ending(is_known, bool(is_first[at]), float(np.exp(log_p[at])))


def _endings(requests: Requests, view: ViewAnswers) -> Endings | None:
    pairs = [(_ending(view.get(row)), _ending(view.base(row))) for row in requests.rows]
    known = [(own, base) for own, base in pairs if own and base]
    if not known:
        return None
    return Endings(
        rows=len(known),
        unended=sum(_stopped_ending(own, base) for own, base in known),
        base_unended=sum(not base.ends for _, base in known),
        end_probability=float(np.median([own.probability for own, _ in known])),
        base_end_probability=float(np.median([base.probability for _, base in known])),
    )


def _stopped_ending(own: _Ending, base: _Ending) -> bool:
    return not own.ends and (base.ends or (own.is_known and not base.is_known))
