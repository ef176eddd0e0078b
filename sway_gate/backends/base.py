"""The backend protocol: one loaded base with its adapter and nulls computes requests under views.

The engine decides what is measured and in which batches. A backend turns one batch into numbers.
"""

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, assert_never, get_args

from sway_gate.errors import CannotDecide, is_out_of_memory
from sway_gate.measurements import (
    Answer,
    Divergence,
    DivergenceKind,
    Fault,
    Floats,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    View,
)
from sway_gate.model_files.config import chat_template
from sway_gate.text import cut, is_number, one_line

Capability = Literal[
    "nulls",
    "scales",
    "generation",
    "teacher_forced",
    "log_probs",
    "divergences",
    "whole_vocabulary",
]
ALL: frozenset[Capability] = frozenset(get_args(Capability))
"""The parts of a backend: views of null adapters, the adapter at other scales, generated texts,
argmax matches under teacher forcing, log-probabilities of given texts, divergences; whole
vocabulary: divergences are exact, not lower bounds."""
OF_MODELS: frozenset[Capability] = frozenset({"log_probs", "divergences", "whole_vocabulary"})
"""The parts that a backend with the models themselves always has."""
OF_SERVERS: frozenset[Capability] = ALL - {"nulls", "scales", "whole_vocabulary"}
"""The parts that a server can have."""
ScoredKind = Literal["logprobs", "teacher_forced", DivergenceKind]
AnswerKind = Literal[ScoredKind, "text"]


def capabilities_needed(view: View, request: Request) -> Iterator[Capability]:
    """The capabilities that `request` under `view` needs."""
    if view.source == "null":
        yield "nulls"
    if view.scale != 1.0:
        yield "scales"
    match request:
        case Generation():
            yield "generation"
        case TeacherForced():
            yield "teacher_forced"
        case LogProbs():
            yield "log_probs"
        case Divergence():
            yield "divergences"
        case _:
            assert_never(request)


class EncodedRequest(NamedTuple):
    """One tokenised request. Logits are taken after `ids[p]` for each p in `positions`.

    `kind` is the answer that they give: log-probabilities of `targets`, one per position
    (teacher_forced: also whether the target is the argmax, and whether it is the target with index
    `end`, which ends the answer; -1 if none does), or a divergence. kind text:
    at most `length` tokens are decoded after `ids`. All requests of one pass have the same first
    `prefix_len` ids. `payload` is for the backend; the engine only compares it.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    targets: tuple[int, ...] = ()
    kind: AnswerKind = "logprobs"
    length: int = 0
    prefix_len: int = 0
    end: int = -1
    payload: Hashable = None


class Facts(NamedTuple):
    """The hardware and precision of a backend: for the report and for the key of cached results."""

    device: str
    dtype: str
    determinism: str
    notes: tuple[str, ...] = ()


class PassResult(NamedTuple):
    """Answers [view][row] of one pass.

    `base_log_probs`: of divergences, the base's log-probabilities, one entry per row; otherwise
    None. The engine hands them to the other passes over the same rows. `shared`: of texts, the
    number of first tokens of all prompts that were read once per view.
    """

    answers: list[list[Answer | Fault]]
    base_log_probs: Sequence[Any] | None = None
    shared: int = 0


class Store(Protocol):
    """Numbers of earlier runs, by the texts of view and request."""

    def get(self, view: str, request: str) -> Floats | None: ...

    def put(self, view: str, request: str, value: Floats) -> None: ...


class OutOfMemory(Exception):
    """A pass does not fit into memory. The engine divides it."""


class NotStackable(Exception):
    """This model cannot compute several views in one pass. The engine continues view by view."""


class Backend(Protocol):
    facts: Facts
    batches_views: bool
    """Whether one pass computes several views. Constant. If not, changing the view may be slow."""

    @property
    def pack_limit(self) -> int:
        """The longest sequence that rows of one prompt can share; 0: they cannot.

        See `sway_gate.backends.packing`.
        """

    def encode(
        self, requests: Sequence[Request], store: Store | None = None
    ) -> Sequence[tuple[EncodedRequest | Fault, str]]:
        """Encode each request. The text is a note if it was cut to the model's context, or "".

        A request with nothing to measure gives a Fault. Answers of the base that requests need are
        read from `store`, or generated and added to it.
        """

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        """Estimate the bytes that a pass needs in addition to the weights."""

    def budget(self) -> int:
        """Bytes that a pass may use."""

    def unused_modules(self) -> tuple[str, ...]:
        """Adapted modules that no pass has used so far: their change cannot affect any answer."""

    def forward(
        self,
        views: Sequence[View],
        rows: Sequence[EncodedRequest],
        base_log_probs: Sequence[Any] | None = None,
    ) -> PassResult:
        """Run one pass. The rows have one kind and the same prefix.

        Divergences without `base_log_probs` need the base as the first view. Raises OutOfMemory
        or NotStackable.
        """


def require_length(tokenizer: Any, name: str) -> None:
    """Raise CannotDecide unless the maximum length of a loaded tokenizer is a number."""
    if not is_number(length := tokenizer.model_max_length):
        raise CannotDecide(
            f"{name}: tokenizer_config.json states model_max_length {cut(repr(length), 40)}; "
            "set a number"
        )


def keep_template_file(tokenizer: Any, folder: Path) -> None:
    """Note the file of the tokenizer's chat template, which lies in `folder`, for messages."""
    found = chat_template(folder)
    tokenizer.template_file = str(folder / found.file) if found else ""


def template_file(tokenizer: Any) -> str:
    """The file of the chat template; "" if it is not known."""
    return getattr(tokenizer, "template_file", "")


def tokenizer_fault(folder: Path, error: Exception) -> str:
    """Why the tokenizer in `folder` cannot be loaded, and what to do; error: of transformers."""
    if (folder / "tokenizer.json").is_file():
        return f"cannot be loaded: {error_text(error)}; download it again"
    if any(path for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        return (
            "cannot be loaded without tokenizer.json; install sentencepiece and tiktoken, "
            "or save the tokenizer again"
        )
    return "is missing; copy tokenizer.json and tokenizer_config.json into its folder"


_VOCABULARIES = ("*.model", "vocab*", "*.tiktoken", "tekken.json")
"""Files of tokenizers that transformers converts when it loads them."""


def error_text(error: Exception) -> str:
    """An exception of another library as one line: its message, or its type if it has none.

    Raises MemoryError if memory ran out: the files are not at fault.
    """
    if is_out_of_memory(error):
        raise MemoryError from None
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return cut(one_line(text) or type(error).__name__, 298)
