"""Print the results of `run.py` and `theirs.py` as Markdown, and draw them as SVG.

    python -m benchmarks.validity.report --picture benchmarks/results/validity.svg \\
        > benchmarks/results/validity.md
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import roc
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import DOCUMENTS
from benchmarks.validity.recipes import ADAPTERS, HARMS
from benchmarks.validity.run import RECORD, adapters
from benchmarks.validity.theirs import RECORD as THEIRS
from benchmarks.validity.zoo import TRUTH

THRESHOLD = 0.6
HARM_NATS = 0.1


class Case(NamedTuple):
    """The result of a gate for one adapter of the zoo."""

    base: str
    document: str
    adapter: str
    expected: str
    verdict: str
    score: float
    first: str
    """The reason that the report gives first; for dlm-sway, its first failing probe."""
    reasons: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        return self.verdict == self.expected

    @property
    def names_it(self) -> bool:
        return self.expected == "pass" or self.first in self.reasons


def cases(record: str) -> Iterator[Case]:
    for base in BASES:
        for name in DOCUMENTS:
            for folder in adapters(base, name):
                if (folder / record).exists() and not missing(folder):
                    yield _case(base, name, folder, record)


def missing(folder: Path) -> list[str]:
    """Symptoms that the recipe should cause and the ground truth does not show.

    An adapter with missing symptoms is neither healthy nor defective.
    """
    truth = json.loads((folder / TRUTH).read_text(encoding="utf-8"))
    return sorted(symptom for symptom, shown in truth["symptoms"].items() if not shown)


def left_out() -> Iterator[str]:
    """Gated adapters with missing symptoms, as `base, document, adapter (symptoms)`."""
    for base in BASES:
        for name in DOCUMENTS:
            for folder in adapters(base, name):
                if (folder / RECORD).exists() and (lacking := missing(folder)):
                    yield f"{base}, {name}, {folder.name} ({', '.join(lacking)})"


def _case(base: str, name: str, folder: Path, record: str) -> Case:
    truth = json.loads((folder / TRUTH).read_text(encoding="utf-8"))
    found = json.loads((folder / record).read_text(encoding="utf-8"))
    verdict, score, first = _theirs(found["report"]) if record == THEIRS else _ours(found)
    return Case(
        base, name, folder.name, truth["expected"], verdict, score, first, _reasons(truth, folder)
    )


def _reasons(truth: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """Correct first reasons: from the recipe, and harm probes if the ground truth shows harm."""
    base = json.loads((folder.parent / "base.json").read_text(encoding="utf-8"))
    harmed = any((truth[loss] or 0.0) > base[loss] + HARM_NATS for loss in ("general", "prose"))
    return (*truth["reasons"], *(sorted(HARMS) if harmed else ()))


def _ours(found: dict[str, Any]) -> tuple[str, float, str]:
    return found["verdict"], found["score"] or 0.0, found["first"]


def _theirs(report: dict[str, Any]) -> tuple[str, float, str]:
    """Verdict, score and first failing probe. Its gate passes at 0.6 if no probe fails."""
    if not report:
        return "error", 0.0, ""
    failing = [probe["kind"] for probe in report["probes"] if probe["verdict"] == "fail"]
    score = float(report["score"]["overall"])
    return "fail" if failing or score < THRESHOLD else "pass", score, next(iter(failing), "")


def area(found: Sequence[Case]) -> float:
    """Area under the ROC curve of the score."""
    healthy = [case.score for case in found if case.expected == "pass"]
    return roc.area(healthy, [case.score for case in found if case.expected == "fail"])


def summary(title: str, found: Sequence[Case]) -> str:
    healthy = [case for case in found if case.expected == "pass"]
    defective = [case for case in found if case.expected == "fail"]
    passed, failed = sum(c.is_right for c in healthy), sum(c.is_right for c in defective)
    named = sum(c.is_right and c.names_it for c in defective)
    shares = [(passed, healthy), (failed, defective), (named, defective)]
    cells = " | ".join(f"{count} of {len(group)}" for count, group in shares)
    return f"| {title} | {cells} | {area(found):.3f} |"


def table(found: Sequence[Case]) -> Iterator[str]:
    """Lines of a table with one row per adapter and one column per base and document.

    A cell contains the verdict, the composite and the first reason.
    """
    columns = list(dict.fromkeys((c.base, c.document) for c in found))
    yield "| adapter | expected | " + " | ".join(f"{base}, {name}" for base, name in columns) + " |"
    yield "| --- | --- |" + " --- |" * len(columns)
    by_key = {(c.base, c.document, c.adapter): c for c in found}
    for adapter, made in ADAPTERS.items():
        cells = [_cell(by_key.get((*column, adapter))) for column in columns]
        yield f"| {adapter} | {'fail' if made.reasons else 'pass'} | " + " | ".join(cells) + " |"


def _cell(case: Case | None) -> str:
    if case is None:
        return ""
    text = f"{case.verdict} {case.score:.2f}" + (f" {case.first}" if case.first else "")
    return text if case.is_right and case.names_it else f"**{text}**"


def picture(ours: Sequence[Case], theirs: Sequence[Case], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    sides = [("sway-gate", ours), *([("dlm-sway 0.1.0", theirs)] if theirs else [])]
    names = list(reversed(ADAPTERS))
    figure, axes = plt.subplots(
        1, len(sides), figsize=(5.4 * len(sides), 6.4), sharey=True, squeeze=False
    )
    for axis, (title, found) in zip(axes[0], sides, strict=True):
        for expected, colour, label in (
            ("pass", "#1b7f4d", "healthy"),
            ("fail", "#b3261e", "defective"),
        ):
            shown = [c for c in found if c.expected == expected and c.adapter in names]
            for verdict, marker in (("pass", "o"), ("fail", "x"), ("error", "s")):
                part = [c for c in shown if c.verdict == verdict]
                axis.scatter(
                    [c.score for c in part],
                    [names.index(c.adapter) for c in part],
                    c=colour,
                    marker=marker,
                    s=34,
                    label=f"{label}, gate: {verdict}" if part else None,
                )
        axis.axvline(THRESHOLD, color="#888888", linestyle="--", linewidth=1)
        axis.set(title=title, xlabel="composite", xlim=(-0.03, 1.03))
        axis.grid(axis="y", alpha=0.25)
        axis.legend(fontsize=8, loc="lower right")
    axes[0][0].set_yticks(range(len(names)), names)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    ours, theirs = list(cases(RECORD)), list(cases(THEIRS))
    compared = {(c.base, c.document, c.adapter) for c in theirs}
    print("# The zoo\n")
    print("From `make validity`. A wrong verdict or a wrong first reason is in bold.\n")
    print("| gate | healthy pass | defective fail | correct first reason | area under ROC curve |")
    print("| --- | --- | --- | --- | ---: |")
    print(summary("sway-gate", ours))
    if theirs:
        same = [c for c in ours if (c.base, c.document, c.adapter) in compared]
        print(summary("sway-gate, adapters that dlm-sway judged", same))
        print(summary("dlm-sway 0.1.0", theirs))
    if out := "; ".join(left_out()):
        print(
            f"\nExcluded because the ground truth lacks symptoms that the recipe requires: {out}."
        )
    print("\n## sway-gate\n")
    print("\n".join(table(ours)))
    if theirs:
        print("\n## dlm-sway 0.1.0\n")
        print("\n".join(table(theirs)))
    if args.picture:
        picture(ours, theirs, args.picture)


if __name__ == "__main__":
    main()
