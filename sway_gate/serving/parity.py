"""Compares served artefacts with the adapter as it was trained."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from sway_gate.backends.api.completions import NoLogProbs
from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import FLOATS, Precision
from sway_gate.conversation import Prompt
from sway_gate.errors import CannotDecide
from sway_gate.output import Progress
from sway_gate.serving.artefacts import Artefact, ShowsWeights, open_artefact
from sway_gate.serving.formats import differences
from sway_gate.serving.reference import (
    Reference,
    merge_in,
    merge_onto_nf4,
    merged_rows,
    read_reference,
)
from sway_gate.serving.samples import Drawn, Sampled, by_samples
from sway_gate.serving.scores import Scores
from sway_gate.serving.server import Server
from sway_gate.serving.verdict import (
    Merge,
    Name,
    Parity,
    compare,
    distance,
    explained,
    merged_onto,
    weighed,
)
from sway_gate.serving.weights import Fit, Rows, fit

_COARSE = Precision("4 bits", bits=4)
_HALF = FLOATS["bfloat16"]
"""As bases and merges are usually stored."""


class Compared(NamedTuple):
    """One artefact and its verdict, by scores or by samples, or the reason why it has none.

    `precision`: what the yardstick stands for. `weights`: how they fit, if the artefact shows them.
    """

    label: str
    precision: str = ""
    parity: Parity | None = None
    error: str = ""
    sampled: Sampled | None = None
    weights: Fit | None = None

    @property
    def name(self) -> Name:
        found = self.parity or self.sampled
        return found.name if found else "undecided"


def compare_artefacts(
    source: Source,
    prompts: Sequence[Prompt],
    artefacts: Sequence[str],
    served_base: str | None,
    progress: Progress,
) -> list[Compared]:
    """The verdict on each artefact, in order.

    `served_base`: the base in the form of the artefacts; its measured error is then the yardstick.
    Raises UsageError or CannotDecide if the adapter or the base cannot be read.
    """
    base = open_artefact(served_base, source.device) if served_base else None
    opened = [_opened(name, source.device) for name in artefacts]
    if all(isinstance(one, Compared) for one in opened):
        return [one for one in opened if isinstance(one, Compared)]
    source = source._replace(dtype="fp32")
    reference = read_reference(source, prompts, progress)
    yardstick, drawn = Yardstick(source, reference, base), Drawn(source, reference)

    def judged(artefact: Artefact) -> Compared:
        progress(f"comparing {artefact.label}", 0, 0)
        try:
            return _compared(artefact, reference, yardstick, drawn)
        except CannotDecide as error:
            return Compared(artefact.label, error=str(error))
        finally:
            artefact.close()

    return [one if isinstance(one, Compared) else judged(one) for one in opened]


def _opened(name: str, device: str) -> Artefact | Compared:
    """The artefact, or the reason why it cannot be opened. Raises UsageError."""
    try:
        return open_artefact(name, device)
    except CannotDecide as error:
        return Compared(name, error=str(error))


def _compared(
    artefact: Artefact, reference: Reference, yardstick: "Yardstick", drawn: Drawn
) -> Compared:
    """By scores, or by samples if a server gives no log-probabilities."""
    try:
        return compared(artefact, reference, yardstick)
    except NoLogProbs as reason:
        if not isinstance(artefact, Server):
            raise
        return Compared(artefact.label, sampled=by_samples(artefact, drawn, str(reason)))


class Yardstick:
    """What a right artefact scores in each precision, measured once."""

    def __init__(self, source: Source, reference: Reference, base: Artefact | None) -> None:
        self._source, self._reference, self._base = source, reference, base
        self._known: dict[Precision, Merge] = {}
        self._of_base: float | None = None
        self.is_served = base is not None

    def merges(self, precision: Precision | None) -> Iterator[tuple[str, Merge]]:
        """The merges that are right in `precision`: of the exact sum, and of its bfloat16."""
        name, merge = self._stated(precision or _HALF)
        yield name, merge
        if name != _HALF.name:
            half = self.merge_of(_HALF)
            error = max(merge.error, half.error)
            yield f"{name} after {_HALF.name}", Merge(half.scores, error)

    def _stated(self, precision: Precision) -> tuple[str, Merge]:
        """The name and the merge of the base as it is served, otherwise of `precision`."""
        if self._base is None:
            return precision.name, self.merge_of(precision)
        exact = self._reference.known
        if self._of_base is None:
            scores = self._base.scores(self._reference.passages)
            self._of_base = distance(scores, exact[0.0])
            self._base.close()
        return f"the base as {self._base.label}", Merge(exact[1.0], self._of_base)

    def merge_of(self, precision: Precision) -> Merge:
        """The merge in this precision, computed once."""
        if precision not in self._known:
            self._known[precision] = merge_in(precision, self._source, self._reference)
        return self._known[precision]

    def of_4_bits(self) -> float:
        return self.merge_of(_COARSE).error

    def fit_of(self, artefact: Artefact) -> Fit | None:
        """How the artefact's weights fit the merge, if it shows them."""
        if not isinstance(artefact, ShowsWeights):
            return None
        return fit(self._rows, artefact.stored(self._rows))

    @cached_property
    def _rows(self) -> dict[str, Rows]:
        return merged_rows(self._source)

    @cached_property
    def onto_nf4(self) -> list[Scores]:
        """The scores of the adapter merged onto the base in 4 bits."""
        return merge_onto_nf4(self._source, self._reference)


def compared(artefact: Artefact, reference: Reference, yardstick: Yardstick) -> Compared:
    precision = artefact.precision
    scores = artefact.scores(reference.passages)
    texts = [passage.text for passage in reference.passages]
    formats = (
        *differences(reference.tokenizer, artefact.format(), texts),
        *artefact.notes(reference.tokenizer, reference.passages),
    )
    is_stated = precision is not None or yardstick.is_served
    has_integers = precision is not None and precision.bits > 0
    is_quantized = yardstick.is_served or has_integers
    tried = (
        (name, compare(reference.known, scores, merge, formats, is_quantized=is_quantized))
        for name, merge in yardstick.merges(precision)
    )
    name, parity = first = next(tried)
    if not parity.has_right_weights:
        name, parity = next((one for one in tried if one[1].has_right_weights), first)
    if parity.name == "another base or adapter":
        if is_stated and not has_integers:
            parity = merged_onto(parity, distance(scores, yardstick.onto_nf4))
        else:
            parity = explained(parity, yardstick.of_4_bits(), is_stated=is_stated)
    weights = yardstick.fit_of(artefact)
    return Compared(artefact.label, name, weighed(parity, weights), weights=weights)
