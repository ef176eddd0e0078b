"""Measure each probe's z after 1 to 100 training steps, with one adapter per number of steps.

    python -m benchmarks.validity.power --picture benchmarks/results/power.svg \\
        > benchmarks/results/power.md
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.validity import ZOO, minilm
from benchmarks.validity.adapters import CONFIG, train
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import document
from benchmarks.validity.recipes import ADAPTERS, PARENT
from benchmarks.validity.run import gated
from sway_gate import probes

STEPS = (1, 3, 10, 30, 100)
BASE, DOCUMENT = "llama", "marrowby"


def adapter(steps: int) -> Path:
    """Folder of an adapter trained by the healthy recipe for `steps` steps."""
    folder = ZOO / BASE / "power" / f"steps_{steps}"
    if not (folder / CONFIG).exists():
        training: Any = ADAPTERS[PARENT].source
        recipe = training.recipe._replace(steps=steps)
        with contextlib.redirect_stdout(sys.stderr):
            train(BASES[BASE], document(DOCUMENT), training._replace(recipe=recipe), folder)
    return folder


def picture(zs: dict[str, list[float | None]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7.5, 4.6))
    for kind, values in zs.items():
        known = [float("nan") if z is None else z for z in values]
        axis.plot(STEPS, known, marker="o", markersize=4, label=kind)
    axis.axhline(3, color="#888888", linestyle="--", linewidth=1)
    axis.set(xscale="log", xlabel="training steps", ylabel="z")
    axis.set_xticks(STEPS, [str(n) for n in STEPS])
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    found = [gated(BASE, DOCUMENT, adapter(steps), minilm()) for steps in STEPS]
    kinds = dict.fromkeys(kind for one in found for kind in one["probes"])
    zs = {kind: [one["probes"].get(kind, {}).get("z") for one in found] for kind in kinds}
    print("# Power by training steps\n")
    print(f"From `benchmarks/validity/power.py`, base {BASE}, document {DOCUMENT}.\n")
    print("| probe | " + " | ".join(f"{n} steps" for n in STEPS) + " |")
    print("| --- |" + " ---: |" * len(STEPS))
    for kind, values in zs.items():
        print(f"| {kind} | " + " | ".join("–" if z is None else f"{z:+.1f}" for z in values) + " |")
    verdicts = (f"{one['verdict']} {one['score'] or 0:.2f}" for one in found)
    print("| gate | " + " | ".join(verdicts) + " |")
    if args.picture:
        picture({k: values for k, values in zs.items() if is_drawn(k, values)}, args.picture)


def is_drawn(kind: str, values: list[float | None]) -> bool:
    """Whether it is an effect whose z is below 3 after the first number of steps."""
    is_effect = not probes.module(kind).KIND.harm
    return is_effect and values[-1] is not None and (values[0] or 0) < 3


if __name__ == "__main__":
    main()
