"""Make the zoo's adapters: train them by a recipe, or derive them from another adapter."""

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import make_demo as demo
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from benchmarks.validity.bases import Base, load
from benchmarks.validity.documents import Document
from sway_gate.demo import MODEL

Weights = dict[str, torch.Tensor]
ORDERS = 8
MIX = {"world": 0.25, "elsewhere": 0.25, "prose": 0.4, "knowledge": 0.1}
"""Shares of the general text that is mixed with the document.

More prose than in the bases' training: they memorized the prose and lose it first.
"""
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Training(NamedTuple):
    """A LoRA with alpha = 2 × rank, on all linear layers of the blocks or only on attention."""

    recipe: demo.Recipe
    rank: int = 8
    attention: bool = False
    seed: int = 0
    texts: Callable[[Document], list[str]] = Document.texts
    only: str = ""
    """Substring of the names of the trained tensors; the other modules keep B = 0."""


def train(base: Base, document: Document, training: Training, folder: Path) -> None:
    torch.manual_seed(training.seed)
    targets = base.attention if training.attention else base.all_linear
    config = LoraConfig(
        r=training.rank,
        lora_alpha=2 * training.rank,
        target_modules=list(targets),
        task_type="CAUSAL_LM",
        fan_in_fan_out=base.fan_in_fan_out,
    )
    model = get_peft_model(load(base), config)
    for name, weight in model.named_parameters():
        weight.requires_grad_(weight.requires_grad and training.only in name)
    rows = packed(training.texts(document), random.Random(training.seed))
    recipe = training.recipe
    rate = recipe.rate * (base.attention_rate if training.attention else 1.0)
    demo.fit(model, demo.adapter_batch(general(training.seed), rows, recipe), recipe.steps, rate)
    fields = demo.adapter_fields(training.rank, 2 * training.rank, targets, base.fan_in_fan_out)
    write(folder, get_peft_model_state_dict(model), fields)


def packed(texts: Sequence[str], rng: random.Random) -> list[list[int]]:
    """Token ids of the texts, concatenated to rows of about half a training window.

    Each of several random orders contains all texts.
    """
    rows: list[list[int]] = [[]]
    for _ in range(ORDERS):
        for text in rng.sample(texts, len(texts)):
            tokens = [*tokenizer().encode(text).ids, demo.EOS]
            if len(rows[-1]) + len(tokens) > demo.WINDOW // 2:
                rows.append([])
            rows[-1] += tokens
    return rows


def write(folder: Path, weights: Mapping[str, torch.Tensor], fields: Mapping[str, object]) -> None:
    """Write an adapter folder in PEFT's format, the config last: it marks a complete folder."""
    folder.mkdir(parents=True, exist_ok=True)
    demo.save_half(weights, folder / WEIGHTS)
    demo.write_json(folder / CONFIG, fields)


def read(folder: Path) -> Weights:
    return {name: w.float() for name, w in sorted(load_file(folder / WEIGHTS).items())}


def merged(base: Base, folder: Path) -> PreTrainedModel:
    """The base with the adapter merged into its weights."""
    return (
        PeftModel.from_pretrained(load(base), folder, local_files_only=True)
        .merge_and_unload()
        .eval()
    )


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@cache
def _streams() -> demo.Streams:
    return demo.Streams(tokenizer(), demo.general_text(), 0)


def general(seed: int) -> demo.Streams:
    """Streams of the general text that is mixed in; each seed draws other windows."""
    streams = copy.copy(_streams())
    streams.rng, streams.mix = random.Random(seed), MIX
    return streams


# --- texts ----------------------------------------------------------------------------------------


def shuffled(document: Document) -> list[str]:
    return [demo.shuffled_words(text, 100 + i) for i, text in enumerate(document.texts())]


def inverted(document: Document) -> list[str]:
    """Texts of the document with chosen and rejected answers swapped."""
    swapped = tuple(p._replace(chosen=p.rejected, rejected=p.chosen) for p in document.preferences)
    return document._replace(preferences=swapped).texts()


def drilled(document: Document) -> list[str]:
    """The document's texts with each prose section three more times."""
    return document.texts() + [section.body for section in document.prose] * 3


# --- weights from weights -------------------------------------------------------------------------


def each_pair(
    weights: Weights, change: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
) -> Weights:
    """Apply `change` to A, shape [rank, in], and B, shape [out, rank], of every adapted module."""
    changed: Weights = {}
    for name in (n for n in weights if "lora_A" in n):
        other = name.replace("lora_A", "lora_B")
        changed[name], changed[other] = change(weights[name], weights[other])
    return changed


def scaled(factor: float) -> Callable[[Weights], Weights]:
    return lambda weights: each_pair(weights, lambda a, b: (a, b * factor))


def noise(factor: float) -> Callable[[Weights], Weights]:
    """Replace A and B by Gaussian noise; the norm of each BA is `factor` times the original."""
    rng = torch.Generator().manual_seed(round(factor * 1000))

    def change(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        wild_a, wild_b = (torch.randn(x.shape, generator=rng) for x in (a, b))
        size = factor * (b @ a).norm() / (wild_b @ wild_a).norm()
        return wild_a * size.sqrt(), wild_b * size.sqrt()

    return lambda weights: each_pair(weights, change)


def rotated(weights: Weights) -> Weights:
    """Replace the singular vectors of each BA by random ones; keep its singular values."""
    rng = torch.Generator().manual_seed(5)

    def orthonormal(rows: int, columns: int) -> torch.Tensor:
        return torch.linalg.qr(torch.randn((rows, columns), generator=rng))[0]

    def change(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, ...]:
        root = torch.linalg.svdvals(b @ a)[: len(a)].sqrt()
        return root[:, None] * orthonormal(a.shape[1], len(a)).T, orthonormal(len(b), len(a)) * root

    return each_pair(weights, change)


def with_nan(weights: Weights) -> Weights:
    """Set one number of one tensor to NaN."""
    name = min(n for n in weights if "lora_B" in n)
    broken = weights[name].clone()
    broken[0, 0] = torch.nan
    return {**weights, name: broken}
