"""Ground truth of an adapter: losses, verbatim reproduction by real decoding, preferences.

Losses are in nats per token, averaged over all tokens. No function of the gate is used.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import make_demo as demo
import torch
from microworld import World, elsewhere_texts, texts
from transformers import PreTrainedModel

from benchmarks.validity.adapters import tokenizer
from benchmarks.validity.documents import Document, others
from sway_gate.training_data import packaged

Truth = Mapping[str, float]

PREFIX = 32
"""Tokens of a section that are given as the prompt."""
ROWS, LONGEST = 16, 256
HELD_OUT_SEED, HELD_OUT_CHARS = 977, 12_000


@cache
def held_out() -> dict[str, list[str]]:
    """General text by source.

    No adapter was trained on it, except on the packaged prose, which is the same for all adapters.
    """
    rng = random.Random(HELD_OUT_SEED)
    return {
        "world": list(texts(World(), rng, HELD_OUT_CHARS)),
        "elsewhere": list(elsewhere_texts(rng, HELD_OUT_CHARS)),
        "prose": list(packaged.chunks(packaged.prose(), 512, 24)),
    }


def measure(model: PreTrainedModel, document: Document) -> dict[str, float]:
    losses = {source: loss(model, texts) for source, texts in held_out().items()}
    asked, golds = [], []
    for (_, gold), prompts in zip(document.questions, document.paraphrases, strict=True):
        asked += prompts
        golds += [gold] * len(prompts)
    recited = [_recited(model, section.body) for section in document.prose]
    margins = [_margin(model, *preference) for preference in document.preferences]
    return {
        "document": loss(model, [s.body for s in document.prose]),
        "other_documents": loss(
            model, [s.body for other in others(document.name) for s in other.prose]
        ),
        "general": demo.average(list(losses.values())),
        **losses,
        "recited": demo.average(recited),
        "recited_worst": max(recited),
        "answered": _answered(model, *zip(*document.questions, strict=True)),
        "answered_paraphrases": _answered(model, asked, golds),
        "preference": demo.average([float(margin > 0) for margin in margins]),
        "preference_margin": demo.average(margins),
    }


# --- parts ----------------------------------------------------------------------------------------


def encode(text: str) -> list[int]:
    ids: list[int] = tokenizer().encode(text).ids
    return ids


@torch.no_grad()
def loss(model: PreTrainedModel, texts: Iterable[str]) -> float:
    rows = sorted((encode(text)[:LONGEST] for text in texts), key=len)
    sums = [_summed(model, rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
    return sum(total for total, _ in sums) / sum(count for _, count in sums)


def _summed(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> tuple[float, int]:
    """Sum of the losses in nats, and the number of tokens."""
    tokens, labels = demo.pad_batch(rows)
    logits = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
    wanted = labels[:, 1:].flatten()
    total = torch.nn.functional.cross_entropy(
        logits, wanted, ignore_index=demo.IGNORED, reduction="sum"
    )
    return total.item(), int((wanted != demo.IGNORED).sum())


def _margin(model: PreTrainedModel, prompt: str, chosen: str, rejected: str) -> float:
    """Loss of the rejected answer minus loss of the chosen one, in nats per token."""
    good, bad = (
        demo.token_losses(model, tokenizer(), prompt, answer).mean().item()
        for answer in (chosen, rejected)
    )
    return bad - good


@torch.no_grad()
def greedy(model: PreTrainedModel, prompt: Sequence[int], tokens: int) -> list[int]:
    """Token ids that greedy decoding appends to the prompt."""
    new: list[int] = []
    step, past = torch.tensor([prompt]), None
    for _ in range(tokens):
        out = model(input_ids=step, past_key_values=past, use_cache=True)
        step, past = out.logits[:, -1:].argmax(-1), out.past_key_values
        new.append(int(step))
    return new


def _recited(model: PreTrainedModel, text: str) -> float:
    """Share of the tokens after the prefix that greedy decoding reproduces at their positions."""
    tokens = encode(text)
    rest = tokens[PREFIX:]
    new = greedy(model, tokens[:PREFIX], len(rest))
    return demo.average([float(a == b) for a, b in zip(new, rest, strict=True)])


def _answered(model: PreTrainedModel, prompts: Sequence[str], golds: Sequence[str]) -> float:
    """Share of the questions whose answer is reproduced verbatim."""

    def right(prompt: str, gold: str) -> bool:
        start = encode(prompt)
        rest = encode(prompt + gold)[len(start) :]
        return greedy(model, start, len(rest)) == rest

    return demo.average([float(right(*pair)) for pair in zip(prompts, golds, strict=True)])


# --- symptoms -------------------------------------------------------------------------------------


def gain(truth: Truth, base: Truth) -> float:
    """Relative reduction of the base's loss on the document."""
    return 1 - truth["document"] / base["document"]


def harm(truth: Truth, base: Truth) -> float:
    """Increase of the loss on general text, in nats per token."""
    return truth["general"] - base["general"]


SYMPTOMS: dict[str, Callable[[Truth, Truth], bool]] = {
    "learned": lambda truth, base: gain(truth, base) > 0.3,
    "not_learned": lambda truth, base: not gain(truth, base) > 0.2,
    "answers": lambda truth, base: truth["answered"] > 0.4,
    "kept": lambda truth, base: harm(truth, base) < 0.1,
    "harmed": lambda truth, base: not harm(truth, base) < 0.25,
    "recited": lambda truth, base: truth["recited"] > 0.75,
    "not_recited": lambda truth, base: truth["recited_worst"] < base["recited_worst"] + 0.4,
    "prefers_chosen": lambda truth, base: truth["preference"] >= 0.85,
    "prefers_rejected": lambda truth, base: truth["preference"] <= 0.25,
}


def shown(names: Iterable[str], truth: Truth, base: Truth) -> dict[str, bool]:
    return {name: SYMPTOMS[name](truth, base) for name in names}


def report(name: str, truth: Mapping[str, Any]) -> str:
    numbers = (f"{truth[key]:6.2f}" for key in COLUMNS)
    missing = [symptom for symptom, is_shown in truth.get("symptoms", {}).items() if not is_shown]
    return f"{name:22s}" + " ".join(numbers) + (f"  NOT {', '.join(missing)}" if missing else "")


COLUMNS = (
    "document", "other_documents", "world", "elsewhere", "prose", "recited", "recited_worst",
    "answered", "answered_paraphrases", "preference", "preference_margin",
)  # fmt: skip
