"""How often an adapter that learned nothing reaches z ≥ 3: exact null adapters, through the real models and probes.

    python -m benchmarks.validity.exact_nulls > benchmarks/results/exact_nulls.md

For each base, null adapters with the spectrum of a healthy one are drawn and measured on the suite of the zoo, all in
one process. Each is then judged as if it had been trained, against others drawn at random among the rest, as many as a
gate takes. Shares have Clopper-Pearson intervals, over adapters that are not independent of each other's nulls.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from benchmarks.validity import minilm
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import DOCUMENTS, document
from benchmarks.validity.recipes import PARENT
from benchmarks.validity.suite import suite, text
from benchmarks.validity.zoo import home
from sway_gate import engine, planning, probes, spec, stats
from sway_gate.backends import hf
from sway_gate.embedding import SentenceEmbedder
from sway_gate.measure import View, ViewAnswers
from sway_gate.planning import Planned
from sway_gate.probes import Context, Reading
from sway_gate.progress import silent

DRAWN = 500


class Share(NamedTuple):
    """`hits` of `trials`, and the 95 % interval of the probability behind them (Clopper & Pearson 1934)."""

    hits: int
    trials: int

    def __str__(self) -> str:
        low = scipy_stats.beta.ppf(0.025, self.hits, self.trials - self.hits + 1) if self.hits else 0.0
        high = scipy_stats.beta.ppf(0.975, self.hits + 1, self.trials - self.hits) if self.hits < self.trials else 1.0
        return f"{self.hits / self.trials:.2%} [{low:.2%}, {high:.2%}]"


def planned_effects(base: str, name: str, embedding_model: str) -> tuple[list[Planned], Context, spec.Spec]:
    """The suite's effect probes with what they need of null views."""
    fields = suite(document(name), BASES[base].folder, home(base, name) / PARENT, embedding_model)
    loaded = spec.loads(text(fields), name, "/")
    context = Context(loaded.sections, loaded.control, max_tokens=1024, embedder=SentenceEmbedder())
    planned = planning.plan(loaded, context, planning.calibration(loaded))
    return [p for p in planned if not p.probe.HARM], context, loaded


def readings(base: str, name: str, embedding_model: str, drawn: int) -> dict[str, list[Reading]]:
    """Each effect probe's reading of every null adapter. A null is read as a null is: at scale 1."""
    planned, context, loaded = planned_effects(base, name, embedding_model)
    settings = planning.calibration(loaded).settings._replace(runs=drawn)
    backend = hf.load(hf.Source(BASES[base].folder, home(base, name) / PARENT, "fp32", "cpu"), settings)
    views = [View("null", i) for i in range(drawn)]
    plan = [(view, need.request) for p in planned for need in p.needs if need.of_nulls for view in views]
    answers = engine.measure(plan, lambda: backend, None, silent).answers
    return {p.spec.kind: [p.probe.value(p.spec, context, ViewAnswers(answers, v)) for v in views] for p in planned}


def zs(kind: str, found: Sequence[Reading], others: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """z of each null among `others` of the rest, by the judge's own steps."""
    probe = probes.module(kind)
    contrasts = [reading.value if reading.contrast is None else reading.contrast for reading in found]
    scaled = stats.transform(contrasts, probe.SCALE, probe.RESOLUTION)
    rng = np.random.default_rng(seed)
    places = []
    for i, value in enumerate(scaled):
        chosen = rng.choice(np.delete(np.arange(len(scaled)), i), others, replace=False)
        places.append(stats.calibrate(float(value), scaled[chosen], probe.FLOOR).z)
    return np.array(places)


def rows(base: str, name: str, embedding_model: str, drawn: int) -> Iterator[str]:
    passing = np.ones(drawn, dtype=bool)
    for kind, found in readings(base, name, embedding_model, drawn).items():
        others = planning.GENERATIVE_RUNS if probes.module(kind).GENERATES else planning.DEFAULT_RUNS
        z = zs(kind, found, others, seed=0)
        passing &= z >= 3
        yield f"| {base} | {kind} | {others} | {z.mean():+.2f} ± {z.std():.2f} | {Share(int((z >= 3).sum()), drawn)} |"
    yield f"| {base} | all of them: a gate would pass | | | {Share(int(passing.sum()), drawn)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedding-model", default=minilm(), metavar="FOLDER")
    parser.add_argument("--only", choices=list(BASES))
    parser.add_argument("--drawn", type=int, default=DRAWN)
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(f"# Exact nulls\n\nFrom `benchmarks/validity/exact_nulls.py`: {args.drawn} null adapters a base.\n")
    print(
        "| base | probe | nulls | z, mean ± sd | share with z ≥ 3, 95 % interval |\n| --- | --- | ---: | ---: | ---: |"
    )
    for base in [args.only] if args.only else BASES:
        for row in rows(base, DOCUMENTS[0], args.embedding_model, args.drawn):
            print(row, flush=True)


if __name__ == "__main__":
    main()
