"""Build the zoo: every adapter for every base and document, with its ground truth.

    python -m benchmarks.validity.zoo                                     all missing adapters
    python -m benchmarks.validity.zoo --only llama --document marrowby    a part

Each adapter is a folder `.bench/zoo/BASE/DOCUMENT/ADAPTER/` in PEFT's format, with `truth.json`.
The same machine and thread count produce the same bytes. Nothing is downloaded.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from make_demo import write_json
from transformers import PreTrainedModel

from benchmarks.validity import ZOO, truth
from benchmarks.validity.adapters import CONFIG, Training, merged, read, train, write
from benchmarks.validity.bases import BASES, load, make_gpt2
from benchmarks.validity.documents import DOCUMENTS, Document, document, others
from benchmarks.validity.recipes import ADAPTERS, PARENT, Foreign, Source

TRUTH = "truth.json"
LABELS = ("expected", "reasons", "symptoms")


def home(base: str, document: str) -> Path:
    return ZOO / base / document


def build(base: str, document: Document, name: str) -> Path:
    """Folder of the adapter, which is made if it is missing."""
    folder = home(base, document.name) / name
    if not (folder / CONFIG).exists():
        _make(base, document, ADAPTERS[name].source, folder)
    return folder


def _make(base: str, document: Document, source: Source, folder: Path) -> None:
    if isinstance(source, Training):
        print(f"{folder.relative_to(ZOO)}  {source.recipe}", flush=True)
        train(BASES[base], document, source, folder)
        return
    origin = others(document.name)[0] if isinstance(source, Foreign) else document
    parent = build(base, origin, PARENT)
    weights = read(parent) if isinstance(source, Foreign) else source.change(read(parent))
    write(folder, weights, json.loads((parent / CONFIG).read_text(encoding="utf-8")))


def base_truth(base: str, document: Document) -> dict[str, float]:
    path = home(base, document.name) / "base.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return _measured(path, lambda: load(BASES[base]), document)


def adapter_truth(base: str, document: Document, name: str) -> dict[str, Any]:
    """Ground truth of an adapter. The numbers are measured once; the labels follow the recipes."""
    path = home(base, document.name) / name / TRUTH
    numbers = _measured(path, lambda: merged(BASES[base], path.parent), document)
    adapter = ADAPTERS[name]
    labels = {
        "expected": "fail" if adapter.reasons else "pass",
        "reasons": sorted(adapter.reasons),
        "symptoms": truth.shown(adapter.symptoms, numbers, base_truth(base, document)),
    }
    write_json(path, _finite(numbers) | labels)
    return {**numbers, **labels}


def _measured(
    path: Path, model: Callable[[], PreTrainedModel], document: Document
) -> dict[str, float]:
    """Numbers from the file; if it is missing, they are measured on the model and written."""
    if not path.exists():
        write_json(path, _finite(truth.measure(model(), document)))
    fields = json.loads(path.read_text(encoding="utf-8"))
    numbers = {key: value for key, value in fields.items() if key not in LABELS}
    return {key: math.nan if value is None else value for key, value in numbers.items()}


def _finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.validity.zoo", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--only", choices=BASES, help="one base")
    parser.add_argument("--document", choices=DOCUMENTS)
    parser.add_argument("--adapter", choices=ADAPTERS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    for base in [args.only] if args.only else BASES:
        if base == "gpt2" and not (BASES[base].folder / "config.json").exists():
            make_gpt2(BASES[base].folder)
        for name in [args.document] if args.document else DOCUMENTS:
            fill(base, document(name), [args.adapter] if args.adapter else list(ADAPTERS))


def fill(base: str, document: Document, names: list[str]) -> None:
    """Build the adapters and print their ground truth."""
    print(f"{base}/{document.name}  " + " ".join(truth.COLUMNS))
    print(truth.report("base", base_truth(base, document)), flush=True)
    for name in names:
        started = time.monotonic()
        build(base, document, name)
        line = truth.report(name, adapter_truth(base, document, name))
        print(f"{line}  {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
