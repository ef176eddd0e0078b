"""Measure how often an adapter that learned nothing reaches z ≥ 3.

    python -m benchmarks.validity.exact_nulls > benchmarks/results/exact_nulls.md

For each base, null adapters with the spectrum of a healthy adapter are measured on the zoo's suite,
in one process. Each is then judged like a trained adapter. Its nulls are drawn at random from the
others, as many as a gate uses. This is repeated 20 times. Intervals are Clopper and Pearson's with
one trial per adapter; they ignore the additional information of the 20 draws.
"""

import argparse
import functools
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from benchmarks.validity import minilm
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import DOCUMENTS, document
from benchmarks.validity.recipes import PARENT
from benchmarks.validity.suite import suite, text
from benchmarks.validity.zoo import home
from sway_gate import stats
from sway_gate.backends import hf
from sway_gate.backends.embedding import SentenceEmbedder
from sway_gate.backends.loading import Source
from sway_gate.engine.plan import (
    DEFAULT_RUNS,
    GENERATIVE_RUNS,
    PlannedProbe,
    null_plan,
    plan_probes,
)
from sway_gate.engine.run import run_plan
from sway_gate.judge.probe import ProbeRun, test_statistic
from sway_gate.measurements import Answers, Floats, View, with_base
from sway_gate.output import silent
from sway_gate.probes.base import Context
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import Spec

DRAWN, DRAWS = 500, 20


class Share(NamedTuple):
    """`hits` of `trials`, with the 95 % interval of the probability (Clopper & Pearson 1934)."""

    hits: float
    trials: int

    def __str__(self) -> str:
        misses = self.trials - self.hits
        low = scipy_stats.beta.ppf(0.025, self.hits, misses + 1) if self.hits else 0.0
        high = scipy_stats.beta.ppf(0.975, self.hits + 1, misses) if misses else 1.0
        return f"{self.hits / self.trials:.2%} [{low:.2%}, {high:.2%}]"


def planned_effects(
    base: str, name: str, embedding_model: str
) -> tuple[list[PlannedProbe], Context, Spec]:
    """The suite's planned probes that use nulls, with the context of the probes and the spec."""
    fields = suite(document(name), BASES[base].folder, home(base, name) / PARENT, embedding_model)
    loaded = parse_spec(text(fields), name, "/")
    context = Context(loaded.sections, loaded.control, max_tokens=1024, embedder=SentenceEmbedder())
    planned = plan_probes(loaded, context, null_plan(loaded))
    return [p for p in planned if p.probe.KIND.is_calibrated], context, loaded


class Measured(NamedTuple):
    planned: list[PlannedProbe]
    context: Context
    answers: Answers
    views: list[View]


def measured(base: str, name: str, embedding_model: str, drawn: int) -> Measured:
    """Answers to the requests of all effect probes for all null adapters, at scale 1."""
    planned, context, loaded = planned_effects(base, name, embedding_model)
    settings = null_plan(loaded).settings._replace(runs=drawn)
    backend = hf.load(
        Source(BASES[base].folder, home(base, name) / PARENT, "fp32", "cpu"), settings
    )
    views = [View("null", i) for i in range(drawn)]
    plan = [
        (view, need.request) for p in planned for need in p.needs if need.of_nulls for view in views
    ]
    answers = run_plan(with_base(plan), lambda: backend, None, silent).answers
    return Measured(planned, context, answers, views)


def zs(p: PlannedProbe, found: Measured, others: int, seed: int) -> Floats:
    """z of each null against `others` random nulls, as the judge computes it: [draws, nulls]."""

    kind = p.probe.KIND
    run = ProbeRun(p.spec, p.probe, found.context, p.requests, found.answers)

    @functools.cache
    def statistic(view: View, others: tuple[View, ...]) -> float:
        return test_statistic(run.of_view(view, others))

    def place(view: View, company: list[View]) -> float:
        others = tuple(company) if kind.uses_null_mean else ()
        scaled = stats.transform(
            [statistic(v, others) for v in (view, *company)], kind.scale, kind.resolution
        )
        return stats.z_score(float(scaled[0]), scaled[1:], kind.min_null_sd, kind.null_sd_prior).z

    rng = np.random.default_rng(seed)
    rest = {view: [v for v in found.views if v != view] for view in found.views}

    def drawn(view: View) -> list[View]:
        chosen = rng.choice(len(rest[view]), others, replace=False)
        return [rest[view][k] for k in chosen]

    draws = DRAWS // 5 if kind.uses_null_mean else DRAWS
    return np.array([[place(v, drawn(v)) for v in found.views] for _ in range(draws)])


def rows(base: str, name: str, embedding_model: str, drawn: int) -> Iterator[str]:
    found = measured(base, name, embedding_model, drawn)
    passing = np.ones((DRAWS, drawn), dtype=bool)
    for p in found.planned:
        others = GENERATIVE_RUNS if p.probe.KIND.generates else DEFAULT_RUNS
        z = zs(p, found, others, seed=0)
        passing = passing[: len(z)] & (z[: len(passing)] >= 3)
        share = Share((z >= 3).mean() * drawn, drawn)
        yield f"| {base} | {p.spec.kind} | {others} | {z.mean():+.2f} ± {z.std():.2f} | {share} |"
    yield f"| {base} | all probes: a gate would pass | | | {Share(passing.mean() * drawn, drawn)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embedding-model", default=minilm(), metavar="FOLDER")
    parser.add_argument("--only", choices=list(BASES))
    parser.add_argument("--drawn", type=int, default=DRAWN)
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print("# Exact nulls\n")
    print(f"From `benchmarks/validity/exact_nulls.py`: {args.drawn} null adapters per base.\n")
    print("| base | probe | nulls | z, mean ± sd | share with z ≥ 3, 95 % interval |")
    print("| --- | --- | ---: | ---: | ---: |")
    for base in [args.only] if args.only else BASES:
        for row in rows(base, DOCUMENTS[0], args.embedding_model, args.drawn):
            print(row, flush=True)


if __name__ == "__main__":
    main()
