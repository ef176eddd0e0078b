"""The report of `sway parity`, as text and as JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sway_gate.reports.lines import MIN_WIDTH, STYLES, Line, printed
from sway_gate.serving.parity import Compared
from sway_gate.serving.samples import LEVEL, Sampled
from sway_gate.serving.verdict import OPEN, PASSES, Parity
from sway_gate.serving.weights import Fit
from sway_gate.text import one_line

_HANG: Final = 2
_ADVICE: Final = {
    "broken": "Merge or convert it again, in fp32 or bf16: some tokens of the adapter's answers "
    "have no finite probability.",
    "adapter not applied": "Serve the merged model, or load the adapter under the name that "
    "requests use. If it is quantized, compare it before that: coarse rounding can remove the "
    "adapter.",
    "adapter at another strength": "Compare alpha, r and use_rslora of the adapter with the ones "
    "of the merge or the server; check that it was merged once.",
    "merged onto a quantized base": "Merge the adapter onto the base in full precision: a merge "
    "onto the base in 4 bits (NF4) has the same scores.",
    "another base or adapter": "Merge this adapter onto the base that it was trained on, in full "
    "precision.",
    "template differs": "Serve it with the tokenizer and chat template of the training.",
    "precision not stated": "4 bits would explain the difference, and a server does not state its "
    "precision: give the base in the same form with --served-base.",
    "coarser than stated": "Compare the model before its quantization. The error is larger than "
    "its precision explains, and 4 bits explain it: some layers are stored more coarsely, or the "
    "adapter was merged onto a quantized base.",
    "same by samples": "The samples exclude the base. They do not exclude a smaller difference, "
    "such as quantization or another strength.",
    "different by samples": "Check the server's template, temperature and penalties, the scale of "
    "the adapter, and whether the model is quantized: each changes what it writes.",
    "undecided": "Give the training data with --data: on these prompts the adapter changes too "
    "little.",
}


def exit_code(found: Sequence[Compared]) -> int:
    """0 if all artefacts are the same, 1 if one differs, 3 if none does but one is undecided."""
    names = {one.name for one in found}
    if names - {*PASSES, *OPEN}:
        return 1
    return 3 if names & {*OPEN} else 0


def render(found: Sequence[Compared], *, color: bool, width: int, ascii: bool) -> str:
    """One paragraph per artefact: its verdict, what was measured, what to do."""
    lines = [line for one in found for line in _lines(one)]
    return printed(lines, color, max(width, MIN_WIDTH), ascii)


def _lines(one: Compared) -> Iterator[Line]:
    name = "not compared" if one.error else one.name
    style = STYLES["pass" if name in PASSES else "warn" if one.error or name in OPEN else "fail"]
    yield Line([(f"{one_line(one.label)}: ", ""), (name.upper(), style)], _HANG)
    yield from (Line([(" " * _HANG + text, "")], _HANG) for text in _statements(one))


def _statements(one: Compared) -> Iterator[str]:
    if one.error:
        yield one_line(one.error)
        return
    if one.parity:
        yield from _scored(one.parity, one.precision)
    if one.weights:
        yield _weighed(one.weights)
    if one.sampled:
        yield from _sampled(one.sampled)
    if advice := _ADVICE.get(one.name):
        yield advice


def _scored(parity: Parity, precision: str) -> Iterator[str]:
    yield _distances(parity)
    explained = f"{one_line(precision)} explains {parity.yardstick:.3f}"
    yield f"{explained}; the adapter's effect is {parity.effect:.3f}"
    same = f"{parity.greedy} of {parity.texts}"
    yield f"{same} greedy answers are the same ({parity.tokens} tokens)"
    yield from map(one_line, parity.formats)


def _weighed(weights: Fit) -> str:
    share, expected = f"{weights.share:.0%}", f"{weights.expected:.0%}"
    right = f"a right merge in this form {expected}"
    return f"its weights contain {share} of the adapter's change, {right}"


def _sampled(found: Sampled) -> Iterator[str]:
    yield f"p = {found.p:.2g} against the adapter, p = {found.p_of_base:.2g} against the base"
    size = f"{found.each} samples of each of {found.prompts} prompts"
    yield f"{size}; a p of {LEVEL:g} or less shows a difference"
    yield from map(one_line, found.formats)
    yield f"compared by samples: {one_line(found.reason)}"


def _distances(parity: Parity) -> str:
    strength = "" if parity.strength in (0.0, 1.0) else f"; closest at {parity.strength:g} times it"
    return (
        f"{parity.error:.3f} nats per token from the adapter, {parity.from_base:.3f} from the base"
        + strength
    )


def to_json(found: Sequence[Compared]) -> bytes:
    """One entry per artefact; `error` is the reason why it was not compared."""
    entries = [_entry(one) for one in found]
    report = {"schema_version": 1, "exit_code": exit_code(found), "artefacts": entries}
    return json.dumps(report, indent=2).encode() + b"\n"


def _entry(one: Compared) -> dict[str, Any]:
    if one.parity:
        weights = one.weights._asdict() if one.weights else None
        fields = {"precision": one.precision, **one.parity._asdict(), "weights": weights}
        return {"artefact": one.label, **fields}
    if one.sampled:
        return {"artefact": one.label, **one.sampled._asdict()}
    return {"artefact": one.label, "error": one.error}
