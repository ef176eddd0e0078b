"""Verdicts of `sway parity` on artefacts of real adapters whose truth is known.

    pip install gguf llama-cpp-python bitsandbytes accelerate
    python -m benchmarks.parity FOLDER --server PYTHON > benchmarks/results/parity.md

PYTHON is the Python of an environment with `llama-cpp-python[server]`. The artefacts and all scores
stay in FOLDER: a run that was stopped continues. `benchmarks/real` trains the adapters.
"""

import argparse
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.llama_server import running
from benchmarks.parity_artefacts import BASE, NOT_COMPARED, SAME, SUBJECTS, Subject, make
from benchmarks.parity_servers import Serving, servers
from benchmarks.real.base import GGUF, gguf_folder
from benchmarks.real.paths import DATA
from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import Precision
from sway_gate.errors import CannotDecide
from sway_gate.serving.artefacts import open_artefact
from sway_gate.serving.formats import Format, differences
from sway_gate.serving.gguf_weights import stored_rows
from sway_gate.serving.parity import Compared, Yardstick, compared
from sway_gate.serving.reference import Reference, read_reference
from sway_gate.serving.scores import Scores
from sway_gate.serving.verdict import PASSES, Merge
from sway_gate.serving.weights import Fit, Rows, Stored
from sway_gate.suites.parity import parity_inputs

OF_FILES, OF_SERVERS = 8, 4
"""How many answers of the adapter are compared."""
HEAD = """\
# Parity

[`sway parity`](../../docs/parity.md) on artefacts of adapters of all linear layers, on \
SmolLM2-135M-Instruct, whose truth is known from how they were made. From \
`benchmarks/parity.py`, on {of_files} answers, for a server on {of_servers}; the command uses 24.

{right} of {total} verdicts are right; a wrong one is bold. {passed} of {good} right artefacts \
pass, and {green} of the {bad} others. The truth `same` stands for `same` and \
`same within quantization`. Distances are root mean squares in nats per token. The yardstick is \
the error of the artefact's precision in the merged model. Unexplained is the distance from the \
adapter, or from its merge in this precision if that is closer. Weights: the share of the \
adapter's change that a GGUF file contains, and the share of a right merge in this form.
"""
NOTES = """\
## Limits

- **Q4_1 and Q5_K_M.** The base lies on the grid of Q4_1, and Q5_K_M falls back to a similar \
format for these widths. Rounding to that grid removes small changes. The truth of such a file is \
how it was made, and the verdict is how it behaves. The rounding errors of the yardstick are \
random, so they do not show this.
- **4 bits and a small change.** style-slow-r32 has half the effect of facts-middle-r16, and 4 \
bits have an error of two thirds of it. Where the weights do not decide, such an artefact is \
undecided (exit code 3).
- **Merged in the attention only.** This artefact fails under the name of a weaker adapter, which \
it resembles more than another adapter.
"""


class Known(NamedTuple):
    """An artefact whose scores are known. Weights are read from the file at its `address`."""

    label: str
    address: str
    precision: Precision | None
    known: list[Scores]
    formats: tuple[str, ...]

    def scores(self, passages: object) -> list[Scores]:
        return self.known

    def format(self) -> Format:
        return Format()

    def notes(self, *_: object) -> tuple[str, ...]:
        return self.formats

    def stored(self, wanted: Mapping[str, Rows]) -> dict[str, Stored]:
        path = Path(self.address)
        return stored_rows(path, wanted) if path.suffix == ".gguf" else {}

    def close(self) -> None:
        """Nothing is open."""


class KnownYardstick(Yardstick):
    """A yardstick whose merges stay in the folder `kept`."""

    def __init__(self, source: Source, reference: Reference, kept: Path, base: Path | None) -> None:
        self._kept = kept
        super().__init__(source, reference, open_artefact(str(base)) if base else None)

    def merge_of(self, precision: Precision) -> Merge:
        path = self._kept / f"merge {precision.name} {len(self._reference.passages)}.pkl"
        merge: Merge = known(path, lambda: super(KnownYardstick, self).merge_of(precision))
        return merge


class Row(NamedTuple):
    name: str
    truth: str
    found: Compared

    @property
    def verdict(self) -> str:
        return self.found.parity.name if self.found.parity else NOT_COMPARED

    @property
    def is_good(self) -> bool:
        """Whether a right artefact was served, in a precision that is stated."""
        return self.truth == SAME

    @property
    def is_right(self) -> bool:
        return self.verdict == self.truth or (
            self.truth == SAME and self.verdict == "same within quantization"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", metavar="PYTHON", help="leave out the servers without it")
    args = parser.parse_args()
    found = {
        subject.adapter.name: rows_of(args.folder / subject.adapter.name, subject, args.server)
        for subject in SUBJECTS
    }
    print(page(found), end="")


def rows_of(folder: Path, subject: Subject, python: str | None) -> list[Row]:
    """The verdicts on all artefacts of one adapter, and on its servers if `python` is given."""
    kept = folder / "scores"
    kept.mkdir(parents=True, exist_ok=True)
    data_file = str(DATA / f"{subject.data}.jsonl")
    inputs = parity_inputs(str(subject.adapter), str(BASE), [data_file], OF_FILES)
    source = inputs.source._replace(dtype="fp32")
    reference = known(kept / "ref.pkl", lambda: read_reference(source, inputs.prompts, silent))
    yardstick = KnownYardstick(source, reference, kept, None)
    rows = [
        Row(artefact.name, artefact.truth, judged(str(path), kept, reference, yardstick))
        for artefact, path in make(folder, gguf_folder() / GGUF, subject)
    ]
    if python:
        rows += served(folder, kept, source, first(OF_SERVERS, reference), python)
    return rows


def served(
    folder: Path, kept: Path, source: Source, reference: Reference, python: str
) -> list[Row]:
    rows = []
    for one in servers(folder, source.adapter):
        yardstick = KnownYardstick(source, reference, kept, one.base)
        with serving(one, python, kept) as address:
            found = judged(address, kept, reference, yardstick, one.name)
        rows.append(Row(one.name, one.truth, found))
    return rows


def judged(
    address: str, kept: Path, reference: Reference, yardstick: Yardstick, name: str = ""
) -> Compared:
    name = name or Path(address).name
    try:
        artefact = known(kept / f"{name}.pkl".replace("/", "_"), lambda: read(address, reference))
    except CannotDecide as error:
        return Compared(name, error=str(error))
    found = compared(artefact._replace(label=name), reference, yardstick)
    print(f"{time.strftime('%H:%M:%S')} {name}: {found.name}", file=sys.stderr)
    return found


def read(address: str, reference: Reference) -> Known:
    artefact = open_artefact(address)
    try:
        scores = artefact.scores(reference.passages)
        texts = [passage.text for passage in reference.passages]
        formats = (
            *differences(reference.tokenizer, artefact.format(), texts),
            *artefact.notes(reference.tokenizer, reference.passages),
        )
        return Known(artefact.label, address, artefact.precision, scores, formats)
    finally:
        artefact.close()


def first(count: int, reference: Reference) -> Reference:
    cut = {scale: scores[:count] for scale, scores in reference.known.items()}
    return reference._replace(passages=reference.passages[:count], known=cut)


def known(path: Path, compute: Callable[[], Any]) -> Any:
    """The value that is stored, computed once."""
    if not path.exists():
        value = compute()
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(value))
        part.rename(path)
    return pickle.loads(path.read_bytes())


def serving(one: Serving, python: str, kept: Path) -> AbstractContextManager[str]:
    """The address of the server; it is not started if its scores are known."""
    if (kept / f"{one.name}.pkl").exists():
        return nullcontext("http://127.0.0.1")
    return running(python, "--n_ctx", "512", *one.options)


def silent(*_: object) -> None:
    """Show no progress."""


def page(found: Mapping[str, Sequence[Row]]) -> str:
    """The rows of each adapter, by its name, as one page."""
    rows = [row for own in found.values() for row in own]
    right = sum(row.is_right for row in rows)
    good, bad = ([row for row in rows if row.is_good is kind] for kind in (True, False))
    head = HEAD.format(
        of_files=OF_FILES,
        of_servers=OF_SERVERS,
        right=right,
        total=len(rows),
        good=len(good),
        bad=len(bad),
        passed=sum(row.verdict in PASSES for row in good),
        green=sum(row.verdict in PASSES for row in bad),
    )
    sections = (line for name, own in found.items() for line in section(name, own))
    return "\n".join([head, *sections, NOTES])


def section(name: str, rows: Sequence[Row]) -> Iterator[str]:
    effect = next(row.found.parity.effect for row in rows if row.found.parity)
    right = sum(row.is_right for row in rows)
    yield f"## {name}"
    yield ""
    yield f"{right} of {len(rows)} are right. The adapter's effect is {effect:.3f}."
    yield ""
    yield from table(rows)
    yield ""
    yield from quantization(name, rows)
    yield ""


def table(rows: Sequence[Row]) -> Iterator[str]:
    yield (
        "| artefact | truth | verdict | from the adapter | from the base | yardstick "
        "| unexplained | allowed | weights |"
    )
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        verdict = row.verdict if row.is_right else f"**{row.verdict}**"
        yield (
            f"| {row.name} | {row.truth} | {verdict} | {numbers(row.found)} "
            f"| {shares(row.found.weights)} |"
        )


def shares(weights: Fit | None) -> str:
    return f"{weights.share:.2f} of {weights.expected:.2f}" if weights else ""


def numbers(found: Compared) -> str:
    parity = found.parity
    if parity is None:
        return " |  |  |  | "
    values = (
        parity.error, parity.from_base, parity.yardstick, parity.unexplained, parity.tolerance,
    )  # fmt: skip
    return " | ".join(f"{value:.3f}" for value in values)


def quantization(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """How well the yardstick predicts the error of right artefacts."""
    yield f"### The yardstick of {name}"
    yield ""
    yield (
        "These artefacts are the same as the adapter. The errors of floating point and of nf4 are "
        "computed, so their ratio is 1; the ones of other integers are drawn. The base comes from "
        "a file in Q4_1, so the base itself loses nothing in this form; its merges do."
    )
    yield ""
    yield "| artefact | precision | error | yardstick | ratio |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for row in rows:
        parity = row.found.parity
        if row.truth == SAME and parity:
            ratio = f"{parity.error / parity.yardstick:.2f}" if parity.yardstick else ""
            values = f"{parity.error:.4f} | {parity.yardstick:.4f} | {ratio}"
            yield f"| {row.name} | {stated(row.found.precision)} | {values} |"


def stated(precision: str) -> str:
    """The precision, with the name of a file instead of its path."""
    start, slash, name = precision.rpartition("/")
    return f"{start.partition('/')[0]}{name}" if slash else precision


if __name__ == "__main__":
    main()
