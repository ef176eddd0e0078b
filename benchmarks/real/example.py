"""Train and measure the adapters of examples/real: `python -m benchmarks.real.example [NAME …]`.

`healthy` learns the rows of train.jsonl. `swapped` is trained in the same way on the same messages,
with labels that are permuted: each message has the label after its own. Existing adapters are only
measured. The measurements use no part of the gate: an answer is right if it is the label.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from benchmarks.real import base, measures, rows, train
from benchmarks.real.paths import ROOT, Row, read_json, read_rows, write_json
from benchmarks.real.recipes import ATTENTION, Recipe

FOLDER = ROOT / "examples" / "real"
BASE = FOLDER / "base"
MEASURED = FOLDER / "measured.json"
RECIPES = {
    name: Recipe(
        name,
        "examples/real/train.jsonl",
        intended,
        r=4,
        alpha=8,
        targets=ATTENTION,
        rate=1.5e-3,
        epochs=5,
        mixed="general",
    )
    for name, intended in (("healthy", "healthy"), ("swapped", "swapped"))
}


def own_rows(part: str) -> list[Row]:
    """The rows of train.jsonl or held_out.jsonl."""
    return read_rows(FOLDER / f"{part}.jsonl")


def make(recipe: Recipe) -> None:
    """Train one adapter and save its two files, with the weights in bfloat16."""
    import torch

    torch.manual_seed(recipe.seed)
    own = own_rows("train")
    if recipe.intended == "swapped":
        own = rows.swapped(own)
    model, tokenizer = base.load(path=BASE)
    with tempfile.TemporaryDirectory() as scratch:
        given = own + train.mixed_in(recipe.mixed)
        made, logged = train.fit(recipe, given, model, tokenizer, Path(scratch))
    made.peft_config["default"].base_model_name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    made.to(torch.bfloat16).save_pretrained(FOLDER / recipe.name)
    (FOLDER / recipe.name / "README.md").unlink(missing_ok=True)
    print(f"{recipe.name}: {logged['steps']} steps, loss {logged['loss']:.3f}", flush=True)


def answered(model: Any, tokenizer: Any, part: str) -> dict[str, Any]:
    """Number of greedy answers that are the row's answer, or another row's, and the answers."""
    own = own_rows(part)
    prompts = [rows.prompt_text(tokenizer, row) for row in own]
    answers = measures.generate(model, tokenizer, prompts, measures.OWN_TOKENS)
    taught = {rows.answer_of(row) for row in own}
    texts = [text for text, _ in answers]
    is_right = [text == rows.answer_of(row) for text, row in zip(texts, own, strict=True)]
    return {
        "rows": len(own),
        "right": sum(is_right),
        "of_another_row": sum(text in taught for text in texts) - sum(is_right),
        "ended": sum(ended for _, ended in answers),
        "texts": texts,
    }


def measure(name: str) -> dict[str, Any]:
    """What an adapter (or the bare base, for "base") writes, and what it still knows."""
    model, tokenizer = base.load(path=BASE)
    bare = base.load(path=BASE)[0]
    if name != "base":
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, FOLDER / name).eval()
    kept = measures.general(model, tokenizer, bare)
    return {
        "training": answered(model, tokenizer, "train"),
        "held_out": answered(model, tokenizer, "held_out"),
        "general": {key: value for key, value in kept.items() if isinstance(value, float)},
    }


def main(names: list[str]) -> None:
    """Train the adapters that are missing, then measure the base and all of them."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    base.build(BASE)
    for name in names or ["base", *RECIPES]:
        if name in RECIPES and not (FOLDER / name).exists():
            make(RECIPES[name])
        new = {name: measure(name)}
        found = (read_json(MEASURED) if MEASURED.exists() else {}) | new
        write_json(MEASURED, found)
        for part in ("training", "held_out"):
            counts = {key: value for key, value in found[name][part].items() if key != "texts"}
            print(f"{name}, {part}: {counts}", flush=True)
        print(f"{name}, general: {found[name]['general']}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
