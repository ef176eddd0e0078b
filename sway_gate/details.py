"""The shapes of the details that other code than their own probe uses.

A probe describes its details in structs, and a result contains them as JSON. `read` returns the
struct again: from a new result, from the cache or from the report of another version.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

CONTRADICTED: Final = "share of contradicted answers"
"""The name of the rule on answers that training made less likely."""
VERBATIM: Final = "share of word-for-word answers"
"""The beginning of the names of the rules on answers with a fixed wording."""
OWN_FACTS: Final = "share of similar rows with their own"
"""The beginning of the names of the rules on similar rows with exchanged facts."""
NAME_CHARS: Final = 50
"""Characters of the tag by which a message names a section."""


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's findings in addition to its number. The fields are the JSON keys, in this order."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a list in the details."""


class SectionLift(Item, frozen=True, kw_only=True):
    """Relative lifts of one section. The judge adds the last three fields if there are nulls."""

    id: str = ""
    tag: str | None = None
    kind: str = ""
    lift: float | None = None
    lift_permuted: float | None = None
    lift_of_others: float | None = None
    lift_control: float | None = None
    effective: float
    passed: bool
    z: float | UnsetType | None = UNSET
    p_holm: float | UnsetType | None = UNSET
    moved: bool | UnsetType = UNSET

    @property
    def verdict(self) -> Literal["pass", "warn", "fail"]:
        """warn: the section passes, but its lift is not significant among the nulls."""
        if not self.passed:
            return "fail"
        return "warn" if self.moved is False else "pass"


class Sections(Details, frozen=True, kw_only=True):
    """One entry per item of the reading; each is compared with the nulls on its own."""

    sections: list[SectionLift]


class Response(Details, frozen=True, kw_only=True):
    """Distance from the base at each scale λ of the adapter."""

    lambdas: list[float]
    curve: list[float]


class Losses(Item, frozen=True, kw_only=True):
    """Loss on the target text and on control prose at each scale λ, in nats per token.

    `excess_by_text`: loss of each text at λ = 1 minus its loss at `best_below`, the λ ≤ .75 with
    the lowest loss.
    """

    source: str = ""
    lambdas: list[float]
    loss: list[float]
    control_loss: list[float]
    best: float
    excess: float
    best_below: float = 0.0
    excess_by_text: list[float] = []


class TargetLosses(Details, frozen=True, kw_only=True):
    """The losses on a target text, if there is one."""

    target: Losses


class ContentGain(Details, frozen=True, kw_only=True):
    """The gain of own answers over other answers, if it is what the probe judges."""

    judged: Literal["content"]
    content_gain: float


class FormGain(Details, frozen=True, kw_only=True):
    """The gain on the form of the data, if it is what the probe judges."""

    judged: Literal["form"]
    content_gain: float


class Decay(Details, frozen=True, kw_only=True):
    """Divergence from the base after each number of context tokens, in nats."""

    divergence: str = ""
    context_lengths: list[int]
    curve: list[float]


class WrittenAnswer(Item, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt with the answers that base and fine-tuned model write, and their flaws.

    `answer` is the true answer, if there is one. If it is of a row of the data, `base_probability`
    and `probability` are the geometric mean over its tokens under the base and now. `is_fragment`:
    whether a few words take the place of a longer answer of the base.
    """

    prompt: str
    base: str
    finetuned: str
    flaws: list[str]
    base_flaws: list[str]
    of_data: bool = False
    answer: str = ""
    base_probability: float | None = None
    probability: float | None = None
    is_fragment: bool = False

    @property
    def verdict(self) -> Literal["pass", "warn", "fail"]:
        """warn: the base's answer has a flaw too, or it is only a fragment."""
        if self.flaws and not self.base_flaws:
            return "fail"
        return "warn" if self.flaws or self.is_fragment else "pass"


class WrittenAnswers(Details, frozen=True, kw_only=True):
    """The answers of the probe in the order of its prompts."""

    answers: list[WrittenAnswer]


class RowRecall(Item, frozen=True, kw_only=True):
    """One row. `surprising`: phrases that surprise the base, of free wording tokens; `right`: those
    that are now the most probable; `change`: the mean change of their tokens in nats; `end_before`
    and `end`: the probability of the token that ends the answer, None if the row has no such token;
    `base_probability` and `probability`: the geometric mean over the tokens of the answer; `others`
    and `others_right`: the same, of those that are counted apart; `contradicted`: whether training
    made one of its tokens very unlikely; `differences`: values before the end that differ from what
    the model writes; `begins_otherwise`: whether its first token is another one; `replaced`:
    whether training taught another token (see answer_recall)."""

    prompt: str
    answer: str
    surprising: int
    right: int
    change: float
    end_before: float | None
    end: float | None
    base_probability: float | None = None
    probability: float | None = None
    others: int = 0
    others_right: int = 0
    contradicted: bool = False
    differences: int = 0
    begins_otherwise: bool = False
    replaced: bool = False


class Verbatim(Item, frozen=True, kw_only=True):
    """One kind of rows with a fixed wording. `kind`: its name; `answer`: one with the most
    differences; `verbatim`: answers that the model writes word for word; `replaced`: answers in
    which training taught another token."""

    kind: str
    answer: str
    rows: int
    verbatim: int
    replaced: int


class RecalledRows(Details, frozen=True, kw_only=True):
    """The rows of the data, weakest first."""

    rows: list[RowRecall]


class ItemChange(Item, frozen=True, kw_only=True):
    """A sentence with its true ending. `before` and `now`: the likeliest ending under the base and
    now; the probabilities: of the true ending among all endings."""

    register: str
    prompt: str
    gold: str
    now: str
    change: float
    before: str = ""
    base_probability: float | None = None
    probability: float | None = None


class ItemChanges(Details, frozen=True, kw_only=True):
    """Known items, the one that lost most first."""

    worst: list[ItemChange]


class RefusalMargin(Item, frozen=True, kw_only=True):
    """A request and its margins, in nats per token; it is refused if the margin is above 0."""

    prompt: str
    kind: str
    margin: float
    base_margin: float

    @property
    def refused(self) -> bool:
        return self.margin > 0

    @property
    def base_refused(self) -> bool:
        return self.base_margin > 0


class RefusalMargins(Details, frozen=True, kw_only=True):
    """The requests of the probe in its own order."""

    requests: list[RefusalMargin]


class Continuation(Item, frozen=True, kw_only=True, omit_defaults=True):
    """The continuation of a training text, and what the fine-tuned model writes instead of it.

    `recall`, `base_recall`: the share of it in the longest run that each model reproduces.
    `written`: "" if it was not generated.
    """

    id: str
    prefix: str
    true: str
    written: str = ""
    recall: float | None = None
    base_recall: float | None = None


class Continuations(Details, frozen=True, kw_only=True):
    """Continuations of training texts, the most verbatim ones."""

    continuations: list[Continuation]


class MovedPrompt(Item, frozen=True, kw_only=True):
    """A prompt, and whether it moves enough to be an item."""

    prompt: str = ""
    slope: float | None = None
    moved: bool


class MovedPrompts(Details, frozen=True, kw_only=True):
    """The prompts of the probe in its own order."""

    prompts: list[MovedPrompt]


Shape = TypeVar("Shape", bound=Details | Item)


def read(details: Mapping[str, Any], shape: type[Shape]) -> Shape | None:
    """The details as `shape`, without keys that it does not have. None if they do not fit it."""
    try:
        return msgspec.convert(details, shape)
    except (ValueError, OverflowError):
        return None
