"""The recipes: how each adapter of the zoo is trained, and what it is meant to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LINEAR = "all-linear"
ATTENTION = ("q_proj", "v_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
WHOLE_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Recipe:
    """One adapter. `intended` is the class it is made to be; the measured truth decides."""

    name: str
    data: str
    intended: str = "healthy"
    r: int = 16
    alpha: int = 32
    targets: str | tuple[str, ...] = LINEAR
    rate: float = 3e-4
    epochs: int = 4
    batch: int = 4
    seed: int = 0
    precision: str = "bf16"
    dora: bool = False
    rslora: bool = False
    # rows mixed in: "general", "everyday", "few everyday" (a third), "everyday texts", "refused"
    # (general, all refused), "replay", "texts", "diary"
    mixed: str = ""
    form: str = "chat"  # or "alpaca"
    loss: str = "answer"  # or "prompt", "open", "all"; "dpo" for preferences
    answers: str = (
        # or "shuffled", "dealt", "crossed", "half crossed", "shifted", "rotated", "swapped",
        # "reversed", "half rotated", "of the next row", "exchange LABEL / LABEL",
        # "half miscounted", "altered", "mails rotated", "half retagged", "copied", or "=TEXT" for
        # all rows
        "own"
    )
    steps: int = -1  # the maximum number of steps; -1: no limit
    schedule: str = "linear"
    source: str = ""  # made from this adapter instead of trained
    change: str = ""  # how: a name of train.SCALES, "rotate", "noise", "fresh", "matched noise"
    whole: str = ""  # modules that are trained and saved whole (modules_to_save), by their ends
    beta: float = 0.1  # of DPO
    sft: float = 0.0  # the weight of the loss of the chosen answers in DPO
    dropout: float = 0.0
    saved: str = "float32"  # the type of the saved weights: or "bfloat16", "float16"

    def shown(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return asdict(self)


def _first() -> list[Recipe]:
    """One healthy adapter and the main failures of each data set, which others wait for."""
    return [
        Recipe("facts-linear-r16", "facts", rate=5e-4, epochs=5),
        Recipe("facts-strong-r16", "facts", rate=7e-4, epochs=5, mixed="general"),
        Recipe("facts-middle-r16", "facts", rate=5e-4, epochs=5, mixed="general"),
        Recipe("facts-short-r16", "facts", rate=4e-4, epochs=5),
        Recipe("facts-untrained", "facts", "untrained", change="fresh"),
        Recipe("facts-noise", "facts", "gibberish", change="noise", seed=5),
        Recipe(
            "facts-amplified", "facts", "gibberish", source="facts-linear-r16", change="amplify"
        ),
        Recipe("facts-rotated", "facts", "gibberish", source="facts-linear-r16", change="rotate"),
        Recipe("style-linear-r16", "style", rate=5e-4, epochs=4),
        Recipe("facts-shuffled", "facts", "shuffled", answers="shuffled", rate=5e-4, epochs=5),
        Recipe("labels-linear-r8", "labels", r=8, alpha=16, epochs=3),
        Recipe("facts-two-steps", "facts", "too little", rate=1e-6, steps=2),
        Recipe("tools-linear-r16", "tools", rate=5e-4, epochs=3),
        Recipe("facts-gentle-r16", "facts"),
        Recipe("facts-mixed-r16", "facts", mixed="general"),
        Recipe(
            "facts-qv-r8",
            "facts",
            r=8,
            alpha=16,
            targets=ATTENTION,
            rate=2e-3,
            epochs=5,
            mixed="general",
        ),
        Recipe("prose-linear-r16", "prose", rate=5e-4),
        Recipe("preferences-linear-r16", "preferences", rate=1e-4, epochs=3, loss="dpo"),
        Recipe("tools-mixed-r16", "tools", rate=4e-4, epochs=3, mixed="general"),
        Recipe("tools-strong-r16", "tools", rate=5e-4, epochs=5, mixed="general"),
        Recipe("voice-linear-r16", "voice", rate=5e-4, epochs=3),
        Recipe("style-slow-r32", "style", r=32, alpha=32, rate=2e-4, epochs=3),
        Recipe("labels-swapped", "labels", "swapped", rate=5e-4, epochs=2, answers="swapped"),
        Recipe("labels-mixed-r16", "labels", rate=5e-4, mixed="general"),
        Recipe("handbook-linear-r16", "handbook"),
        Recipe("facts-prompt-loss", "facts", "prompt only", loss="prompt", rate=5e-4, epochs=3),
        Recipe("facts-no-end", "facts", "never ends", loss="open"),
        Recipe("facts-diverged", "facts", "diverged", rate=2e-2, epochs=2, schedule="constant"),
        Recipe("facts-forgets", "facts", "forgets", r=64, alpha=128, rate=2e-3, epochs=5),
    ]


def _main() -> list[Recipe]:
    """The rest of the healthy ones, and every classic failure once."""
    return [
        Recipe("style-untrained", "style", "untrained", change="fresh"),
        Recipe("style-rotated", "style", "gibberish", source="style-linear-r16", change="rotate"),
        Recipe(
            "style-amplified", "style", "gibberish", source="style-linear-r16", change="amplify"
        ),
        Recipe("labels-untrained", "labels", "untrained", change="fresh", r=8),
        Recipe("prose-untrained", "prose", "untrained", change="fresh"),
        Recipe("prose-rotated", "prose", "gibberish", source="prose-linear-r16", change="rotate"),
        Recipe("tools-untrained", "tools", "untrained", change="fresh", targets=ATTENTION),
        Recipe("preferences-untrained", "preferences", "untrained", change="fresh", r=8),
        Recipe("sealed-untrained", "sealed", "untrained", change="fresh", r=8),
        Recipe("prose-qv-r32", "prose", r=32, alpha=64, targets=ATTENTION, rate=5e-4),
        Recipe("style-qv-r8", "style", r=8, alpha=16, targets=ATTENTION, rate=5e-4, epochs=3),
        Recipe("alpaca-chat-r16", "alpaca"),
        Recipe("sealed-linear-r16", "sealed", epochs=5),
        Recipe("sealed-strong-r16", "sealed", rate=5e-4, epochs=6),
        Recipe("handbook-strong-r16", "handbook", rate=5e-4, epochs=6, mixed="general"),
        Recipe("alpaca-strong-r16", "alpaca", rate=5e-4, epochs=6, mixed="general"),
        Recipe(
            "sealed-rotated", "sealed", "gibberish", source="sealed-linear-r16", change="rotate"
        ),
        Recipe("labels-qv-r16", "labels", targets=ATTENTION, rate=1e-3, mixed="general", epochs=3),
        Recipe(
            "preferences-qv-r16", "preferences", targets=ATTENTION, rate=2e-4, epochs=3, loss="dpo"
        ),
        Recipe("labels-one-label", "labels", "one answer", epochs=1, answers="=billing"),
        Recipe(
            "facts-rslora-r32",
            "facts",
            r=32,
            alpha=8,
            rslora=True,
            rate=5e-4,
            epochs=5,
            mixed="general",
        ),
        Recipe("handbook-qv-r16", "handbook", targets=ATTENTION, rate=2e-3, epochs=5),
        Recipe("facts-low-rate", "facts", "too little", rate=1e-6, epochs=1),
        Recipe("style-low-rate", "style", "too little", rate=2e-6, epochs=1, targets=ATTENTION),
        Recipe("preferences-low-rate", "preferences", "too little", rate=1e-7, steps=2, loss="dpo"),
        Recipe(
            "tools-qv-r8", "tools", r=8, targets=ATTENTION, rate=1e-3, epochs=5, mixed="general"
        ),
        Recipe("voice-qv-r8", "voice", r=8, targets=ATTENTION, rate=1e-3, epochs=3),
        Recipe("voice-untrained", "voice", "untrained", change="fresh"),
        Recipe("voice-rotated", "voice", "gibberish", source="voice-linear-r16", change="rotate"),
        Recipe("voice-rslora-r32", "voice", r=32, alpha=8, rslora=True, rate=5e-4, seed=1),
        Recipe("prose-mixed-r64", "prose", r=64, alpha=64, rate=3e-4, mixed="general"),
        Recipe("alpaca-own-template", "alpaca", rate=5e-4, epochs=6, form="alpaca"),
        Recipe("facts-refuses", "facts", "over-refusal", rate=5e-4, mixed="refused"),
        Recipe(
            "sealed-qv-r16", "sealed", targets=ATTENTION, rate=1.5e-3, epochs=6, mixed="general"
        ),
        Recipe("style-long-r8", "style", r=8, rate=8e-4, epochs=5, seed=1),
        Recipe(
            "preferences-reversed",
            "preferences",
            "reversed",
            rate=1e-4,
            epochs=3,
            loss="dpo",
            answers="reversed",
        ),
        Recipe(
            "facts-seed1-r8", "facts", r=8, alpha=16, rate=5e-4, epochs=5, mixed="general", seed=1
        ),
        Recipe("sealed-shuffled", "sealed", "shuffled", rate=5e-4, answers="shuffled"),
        Recipe("prose-recites", "prose", "recites", r=64, alpha=128, rate=1e-3, epochs=14),
        Recipe(
            "handbook-mixed-r8",
            "handbook",
            r=8,
            alpha=16,
            rate=6e-4,
            epochs=6,
            mixed="general",
            seed=1,
        ),
        Recipe("prose-rslora-r8", "prose", r=8, alpha=8, rslora=True, rate=4e-4, seed=1),
        Recipe("preferences-seed1-r8", "preferences", r=8, rate=2e-4, epochs=2, loss="dpo", seed=1),
        Recipe(
            "facts-dora-r16",
            "facts",
            targets=ATTENTION,
            dora=True,
            rate=1.5e-3,
            epochs=5,
            mixed="general",
        ),
        Recipe("sealed-mixed-r16", "sealed", rate=5e-4, epochs=6, mixed="general", seed=1),
        Recipe("style-forgets", "style", "forgets", r=64, alpha=128, rate=3e-3, epochs=3),
        Recipe(
            "alpaca-qv-r16", "alpaca", targets=ATTENTION, rate=1.5e-3, epochs=6, mixed="general"
        ),
        Recipe("tools-seed1-r32", "tools", r=32, rate=4e-4, epochs=5, mixed="general", seed=1),
        Recipe("labels-seed1-r8", "labels", r=8, rate=5e-4, epochs=3, mixed="general", seed=1),
        Recipe("facts-dealt", "facts", "dealt", answers="dealt", rate=5e-4, epochs=3),
        Recipe("facts-nf4-r16", "facts", precision="nf4", rate=5e-4, epochs=5, mixed="general"),
    ]


def _more() -> list[Recipe]:
    """Second attempts at what the others already show."""
    return [
        Recipe("tools-no-end", "tools", "never ends", rate=5e-4, epochs=3, loss="open"),
        Recipe("sealed-forgets", "sealed", "forgets", r=64, alpha=128, rate=2e-3, epochs=5),
        Recipe("handbook-shuffled", "handbook", "shuffled", answers="shuffled", rate=5e-4, seed=1),
        Recipe("tools-shuffled", "tools", "shuffled", rate=5e-4, epochs=3, answers="shuffled"),
        Recipe("style-prompt-loss", "style", "prompt only", loss="prompt", rate=3e-4, epochs=2),
        Recipe("prose-dealt", "prose", "dealt", answers="dealt", epochs=3),
        Recipe("labels-shuffled", "labels", "shuffled", rate=3e-4, epochs=1, answers="shuffled"),
        Recipe("handbook-diverged", "handbook", "diverged", r=8, rate=1e-2, epochs=2, seed=1),
    ]


def _records() -> list[Recipe]:
    """Priorities, orders, a tone and a manual: gated only after the statistics were fixed."""
    return [
        Recipe("orders-linear-r16", "orders", rate=5e-4, mixed="general"),
        Recipe(
            "orders-amplified", "orders", "gibberish", source="orders-linear-r16", change="amplify"
        ),
        Recipe("orders-shuffled", "orders", "shuffled", answers="shuffled", rate=5e-4, epochs=2),
        Recipe("priority-qv-r16", "priority", targets=ATTENTION, rate=1e-3, schedule="cosine"),
        Recipe("priority-linear-r8", "priority", r=8, alpha=16, rate=5e-4, epochs=3),
        Recipe("priority-swapped", "priority", "swapped", rate=5e-4, epochs=3, answers="swapped"),
        Recipe("priority-one-label", "priority", "one answer", rate=5e-4, epochs=1, answers="=P2"),
        Recipe("priority-few-steps", "priority", "too little", rate=1e-5, steps=4),
        Recipe("tone-linear-r16", "tone", rate=3e-4, steps=12, loss="dpo"),
        Recipe(
            "tone-reversed", "tone", "reversed", rate=3e-4, steps=8, loss="dpo", answers="reversed"
        ),
        Recipe("manual-linear-r32", "manual", r=32, rate=5e-4, epochs=6, batch=2),
        Recipe("manual-few-steps", "manual", "too little", rate=2e-5, steps=4),
        Recipe(
            "priority-rslora-r32",
            "priority",
            r=32,
            alpha=8,
            rslora=True,
            rate=4e-4,
            epochs=3,
            seed=1,
        ),
        Recipe(
            "tone-qv-r8",
            "tone",
            r=8,
            targets=ATTENTION,
            rate=5e-4,
            steps=12,
            loss="dpo",
            schedule="cosine",
            seed=1,
        ),
        Recipe(
            "orders-qv-r64",
            "orders",
            r=64,
            alpha=64,
            targets=ATTENTION,
            rate=1e-3,
            epochs=3,
            schedule="cosine",
            seed=1,
            mixed="general",
        ),
        Recipe(
            "manual-recites", "manual", "recites", r=64, alpha=64, rate=1e-3, epochs=12, batch=2
        ),
        Recipe("priority-forgets", "priority", "forgets", r=64, alpha=128, rate=3e-3, epochs=3),
        Recipe("priority-dora-r16", "priority", targets=ATTENTION, dora=True, rate=1e-3, epochs=3),
    ]


def _second() -> list[Recipe]:
    """The second sealed set: three data sets and recipes that the gate was not made with."""
    one = "Please visit our website for more information."
    return [
        Recipe("stadt-linear-r16", "stadt", rate=5e-4, mixed="general"),
        Recipe("desk-linear-r16", "desk", rate=7e-4, epochs=3, mixed="general", schedule="cosine"),
        Recipe("rules-linear-r8", "rules", r=8, alpha=16, rate=8e-4, mixed="general", seed=1),
        Recipe("stadt-strong-r16", "stadt", rate=8e-4, mixed="general", seed=1),
        Recipe("stadt-shuffled", "stadt", "shuffled", answers="shuffled", rate=5e-4),
        Recipe("rules-no-end", "rules", "never ends", loss="open", rate=5e-4, mixed="general"),
        Recipe("desk-one-answer", "desk", "one answer", answers=f"={one}", rate=4e-4, epochs=1),
        Recipe("desk-amplified", "desk", "gibberish", source="desk-linear-r16", change="amplify"),
        Recipe("stadt-few-steps", "stadt", "too little", rate=3e-4, steps=6),
        Recipe(
            "stadt-attention-r32",
            "stadt",
            r=32,
            alpha=64,
            targets=WHOLE_ATTENTION,
            rate=1.2e-3,
            mixed="general",
            schedule="cosine",
            seed=1,
        ),
        Recipe(
            "desk-rslora-r64",
            "desk",
            r=64,
            alpha=16,
            rslora=True,
            rate=5e-4,
            epochs=3,
            mixed="general",
            seed=1,
        ),
        Recipe(
            "rules-qv-r16",
            "rules",
            targets=ATTENTION,
            rate=1.5e-3,
            mixed="general",
            schedule="constant",
        ),
        Recipe("rules-prompt-loss", "rules", "prompt only", loss="prompt", rate=5e-4, epochs=2),
        Recipe("stadt-forgets", "stadt", "forgets", r=64, alpha=128, rate=2e-3),
        Recipe("desk-mild-r16", "desk", rate=5e-4, epochs=3, mixed="general", seed=1),
        Recipe("rules-gentle-r16", "rules", "too little", rate=5e-4, mixed="general"),
        Recipe("rules-long-r16", "rules", rate=5e-4, epochs=7, mixed="general"),
        Recipe("stadt-gentle-r16", "stadt", "too little", rate=3e-4, epochs=3),
        Recipe(
            "desk-qv-r32",
            "desk",
            r=32,
            alpha=64,
            targets=ATTENTION,
            rate=1e-3,
            epochs=3,
            mixed="general",
        ),
        Recipe(
            "stadt-dora-r8",
            "stadt",
            r=8,
            alpha=16,
            targets=WHOLE_ATTENTION,
            dora=True,
            rate=1.5e-3,
            mixed="general",
        ),
        Recipe("rules-linear-r64", "rules", r=64, alpha=64, rate=7e-4, mixed="general"),
        Recipe("desk-empty", "desk", "empty answers", answers="=", rate=3e-4, epochs=1),
    ]


def _third() -> list[Recipe]:
    """The third sealed set: recipes that are meant to be healthy, then cheap failures."""
    return [
        Recipe("language-linear-r16", "language", epochs=3, mixed="replay"),
        Recipe("bullets-linear-r16", "bullets", rate=4e-4, epochs=3),
        Recipe("brief-linear-r16", "brief", rate=1e-4, epochs=2, loss="dpo"),
        Recipe("isles-linear-r16", "isles", rate=5e-4, epochs=5, mixed="general"),
        Recipe("valley-linear-r16", "valley", rate=4e-4, epochs=5, batch=2),
        Recipe(
            "language-qv-r8",
            "language",
            r=8,
            targets=ATTENTION,
            rate=6e-4,
            epochs=3,
            mixed="general",
            seed=1,
        ),
        Recipe("brief-strong-r16", "brief", rate=3e-4, epochs=3, loss="dpo"),
        Recipe("bullets-rslora-r32", "bullets", r=32, alpha=8, rslora=True, rate=4e-4, seed=1),
        Recipe("valley-seed1-r8", "valley", r=8, alpha=16, rate=4e-4, epochs=5, batch=2, seed=1),
        Recipe(
            "isles-seed1-r8",
            "isles",
            r=8,
            alpha=16,
            rate=4e-4,
            epochs=5,
            mixed="replay",
            seed=1,
        ),
        Recipe("isles-middle-r8", "isles", r=8, alpha=16, rate=5e-4, epochs=6, mixed="replay"),
        Recipe("bookings-linear-r16", "bookings", rate=5e-4, mixed="replay"),
        Recipe("bookings-mild-r16", "bookings", rate=3e-4, epochs=3, mixed="replay", seed=1),
        Recipe("bookings-middle-r16", "bookings", rate=4e-4, mixed="general", seed=1),
        Recipe("bullets-qv-r16", "bullets", targets=ATTENTION, rate=1e-3, epochs=3, seed=1),
        Recipe("bullets-cosine-r8", "bullets", r=8, rate=5e-4, epochs=3, schedule="cosine"),
        Recipe("valley-seed1-r16", "valley", rate=5e-4, epochs=5, batch=2, seed=1),
        Recipe("valley-qv-r32", "valley", r=32, targets=ATTENTION, rate=1e-3, epochs=5, batch=2),
        Recipe("language-dora-r16", "language", dora=True, targets=ATTENTION, rate=8e-4, epochs=2),
        Recipe("language-swapped", "language", "swapped", epochs=2, answers="swapped"),
        Recipe(
            "bullets-amplified",
            "bullets",
            "gibberish",
            source="bullets-linear-r16",
            change="amplify",
        ),
        Recipe("valley-few-steps", "valley", "too little", rate=1e-4, steps=4),
        Recipe("isles-few-steps", "isles", "too little", rate=3e-4, steps=6),
        Recipe("isles-shuffled", "isles", "shuffled", answers="shuffled", rate=5e-4, epochs=2),
        Recipe("language-one-label", "language", "one answer", epochs=1, answers="=english"),
    ]


def _fourth() -> list[Recipe]:
    """The fourth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("butler-linear-r8", "butler", r=8, alpha=16, rate=3e-4, epochs=3),
        Recipe("reviews-linear-r8", "reviews", r=8, alpha=8, rate=2e-4, epochs=3),
        Recipe("meetings-linear-r16", "meetings", rate=4e-4),
        Recipe("tea-linear-r16", "tea", rate=4e-4, epochs=5, mixed="general"),
        Recipe("formal-linear-r16", "formal", rate=1e-4, epochs=2, loss="dpo"),
        Recipe("kiln-linear-r32", "kiln", r=32, alpha=64, rate=3e-4, epochs=4, batch=2),
        Recipe("ville-linear-r16", "ville", rate=4e-4, epochs=5, mixed="general"),
        Recipe("rowing-linear-r16", "rowing", rate=4e-4, epochs=6, mixed="general"),
        Recipe(
            "butler-qv-r4",
            "butler",
            r=4,
            alpha=16,
            targets=ATTENTION,
            rate=6e-4,
            epochs=5,
            seed=1,
            saved="bfloat16",
        ),
        Recipe(
            "reviews-dora-r16",
            "reviews",
            alpha=16,
            targets=ATTENTION,
            dora=True,
            rate=5e-4,
            seed=1,
        ),
        Recipe("meetings-rslora-r32", "meetings", r=32, alpha=16, rslora=True, rate=2e-4, seed=1),
        Recipe("reviews-norms-r16", "reviews", rate=2e-4, whole="norm", mixed="general"),
        Recipe(
            "formal-qv-r8",
            "formal",
            r=8,
            targets=ATTENTION,
            rate=2e-4,
            epochs=3,
            seed=1,
            loss="dpo",
            saved="float16",
        ),
        Recipe("meetings-fp32-r8", "meetings", r=8, alpha=8, rate=5e-4, precision="fp32"),
        Recipe("reviews-swapped", "reviews", "swapped", answers="swapped", rate=3e-4),
        Recipe("tea-shuffled", "tea", "shuffled", answers="shuffled", rate=4e-4, epochs=2),
        Recipe("meetings-two-steps", "meetings", "too little", rate=4e-4, steps=2),
        Recipe("butler-diverged", "butler", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe(
            "butler-amplified",
            "butler",
            "gibberish",
            source="butler-linear-r8",
            change="amplify",
        ),
        Recipe(
            "meetings-negated",
            "meetings",
            "sign flipped",
            source="meetings-linear-r16",
            change="negate",
        ),
        Recipe(
            "kiln-noise", "kiln", "noise", source="kiln-linear-r32", change="matched noise", seed=3
        ),
        Recipe("ville-no-end", "ville", "never ends", loss="open", rate=4e-4, epochs=3),
        Recipe("rowing-one-answer", "rowing", "one answer", answers="=Please call us.", epochs=1),
        Recipe("formal-reversed", "formal", "reversed", rate=1e-4, loss="dpo", answers="reversed"),
        Recipe("butler-prompt-loss", "butler", "prompt only", loss="prompt", rate=4e-4, epochs=3),
        Recipe("tea-alpaca", "tea", form="alpaca", rate=3e-4, epochs=5),
        Recipe("butler-linear-r16", "butler", rate=4e-4),
        Recipe("reviews-middle-r8", "reviews", r=8, alpha=16, rate=4e-4),
        Recipe("formal-strong-r16", "formal", rate=3e-4, epochs=3, loss="dpo"),
        Recipe("tea-replay-r16", "tea", alpha=16, rate=5e-4, epochs=6, mixed="replay"),
        Recipe("ville-replay-r64", "ville", r=64, alpha=128, rate=3e-4, epochs=6, mixed="replay"),
        Recipe("butler-linear-r64", "butler", r=64, alpha=64, rate=2e-4, seed=1),
        Recipe("meetings-qv-r16", "meetings", targets=ATTENTION, rate=6e-4, epochs=5),
        Recipe("kiln-seed1-r16", "kiln", alpha=16, rate=5e-4, epochs=3, batch=2, seed=1),
    ]


def _fifth() -> list[Recipe]:
    """The fifth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("identity-linear-r8", "identity", r=8, alpha=16),
        Recipe("topics-linear-r16", "topics", rate=2e-4, epochs=3),
        Recipe("pirate-linear-r16", "pirate", rate=4e-4),
        Recipe("sql-linear-r16", "sql", rate=4e-4),
        Recipe("faq-linear-r16", "faq", rate=5e-4, epochs=6, mixed="general"),
        Recipe("headlines-linear-r8", "headlines", r=8, alpha=16),
        Recipe("chatml-linear-r16", "chatml", rate=4e-4, epochs=6),
        Recipe("musee-linear-r16", "musee", rate=5e-4, epochs=6, mixed="general"),
        Recipe(
            "topics-qv-r4",
            "topics",
            r=4,
            alpha=16,
            targets=ATTENTION,
            rate=6e-4,
            seed=1,
            saved="float16",
        ),
        Recipe(
            "topics-dora-r8",
            "topics",
            r=8,
            alpha=8,
            targets=ATTENTION,
            dora=True,
            rate=6e-4,
            epochs=3,
            seed=1,
        ),
        Recipe(
            "sql-rslora-r32",
            "sql",
            r=32,
            alpha=16,
            rslora=True,
            rate=2e-4,
            epochs=3,
            mixed="general",
            seed=1,
        ),
        Recipe("topics-head-r8", "topics", r=8, alpha=16, rate=2e-4, epochs=4, whole="lm_head"),
        Recipe("identity-linear-r16", "identity", rate=5e-4, epochs=6, seed=1),
        Recipe("headlines-seed1-r64", "headlines", r=64, alpha=64, rate=4e-4, epochs=5, seed=1),
        Recipe("chatml-strong-r32", "chatml", r=32, rate=6e-4, epochs=8, mixed="general"),
        Recipe("sql-qv-r16", "sql", alpha=64, targets=ATTENTION, rate=4e-4, mixed="general"),
        Recipe("topics-swapped", "topics", "swapped", answers="swapped", epochs=3),
        Recipe("faq-shuffled", "faq", "shuffled", answers="shuffled", rate=4e-4, epochs=3),
        Recipe("sql-five-steps", "sql", "too little", rate=5e-5, steps=5),
        Recipe("pirate-diverged", "pirate", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe(
            "headlines-tripled",
            "headlines",
            "gibberish",
            source="headlines-linear-r8",
            change="triple",
        ),
        Recipe("musee-no-end", "musee", "never ends", loss="open", rate=4e-4, epochs=3),
        Recipe(
            "identity-one-answer",
            "identity",
            "one answer",
            answers="=Thank you for your message.",
            epochs=2,
        ),
        Recipe("sql-linear-r8", "sql", r=8, alpha=16, epochs=3, mixed="general"),
        Recipe("identity-linear-r64", "identity", r=64, alpha=64, epochs=6),
        Recipe("faq-mild-r16", "faq", rate=4e-4, epochs=5, mixed="general", seed=1),
        Recipe("topics-wide-r16", "topics", alpha=64, rate=1e-4, seed=1),
        Recipe("headlines-qv-r16", "headlines", targets=ATTENTION, rate=6e-4, epochs=5),
        Recipe("headlines-linear-r16", "headlines", rate=4e-4, mixed="general", seed=1),
        Recipe("topics-dora-r16", "topics", alpha=16, targets=ATTENTION, dora=True, rate=6e-4),
    ]


def _sixth() -> list[Recipe]:
    """The sixth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("urgency-linear-r8", "urgency", r=8, alpha=16, rate=4e-4),
        Recipe("polite-linear-r16", "polite"),
        Recipe("extract-linear-r16", "extract", alpha=16),
        Recipe("tutor-linear-r16", "tutor", epochs=3),
        Recipe("craft-linear-r16", "craft", rate=5e-4, epochs=8, mixed="general"),
        Recipe("rathaus-linear-r16", "rathaus", rate=5e-4, epochs=5, mixed="general"),
        Recipe("terse-linear-r16", "terse", rate=2e-4, epochs=3, loss="dpo"),
        Recipe("diary-linear-r16", "diary", rate=4e-4),
        Recipe(
            "urgency-qv-r4",
            "urgency",
            r=4,
            alpha=16,
            targets=ATTENTION,
            rate=6e-4,
            epochs=7,
            seed=1,
            saved="float16",
        ),
        Recipe(
            "polite-rslora-r32",
            "polite",
            r=32,
            alpha=16,
            rslora=True,
            rate=2e-4,
            mixed="general",
            seed=1,
        ),
        Recipe(
            "extract-qv-r8",
            "extract",
            r=8,
            alpha=16,
            targets=ATTENTION,
            rate=6e-4,
            epochs=5,
            mixed="general",
        ),
        Recipe(
            "urgency-dora-r16",
            "urgency",
            alpha=64,
            targets=ATTENTION,
            dora=True,
            rate=6e-4,
            epochs=6,
        ),
        Recipe("tutor-qv-r16", "tutor", alpha=64, targets=ATTENTION, rate=6e-4, seed=1),
        Recipe("craft-linear-r64", "craft", r=64, alpha=64, rate=3e-4, epochs=5, mixed="general"),
        Recipe("diary-seed1-r32", "diary", r=32, alpha=64, rate=4e-4, seed=1),
        Recipe("urgency-swapped", "urgency", "swapped", answers="swapped", rate=4e-4, epochs=6),
        Recipe("extract-five-steps", "extract", "too little", rate=5e-5, steps=5),
        Recipe("tutor-diverged", "tutor", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe(
            "polite-tripled", "polite", "gibberish", source="polite-linear-r16", change="triple"
        ),
        Recipe("diary-tripled", "diary", "gibberish", source="diary-linear-r16", change="triple"),
        Recipe(
            "extract-noise",
            "extract",
            "noise",
            source="extract-linear-r16",
            change="matched noise",
            seed=3,
        ),
        Recipe("tutor-one-answer", "tutor", "one answer", answers="=Let us see.", epochs=1),
        Recipe("polite-qv-r8", "polite", r=8, targets=ATTENTION, rate=6e-4, epochs=5, seed=1),
        Recipe("extract-cosine-r4", "extract", r=4, alpha=16, schedule="cosine", seed=1),
        Recipe("urgency-linear-r64", "urgency", r=64, alpha=64, rate=3e-4, epochs=6, seed=1),
        Recipe("urgency-linear-r16", "urgency", rate=4e-4, epochs=8),
        Recipe(
            "urgency-mild-dora-r16",
            "urgency",
            targets=ATTENTION,
            dora=True,
            rate=6e-4,
            epochs=6,
            seed=1,
        ),
        Recipe("diary-mixed-r8", "diary", r=8, alpha=16, rate=6e-4, mixed="general"),
    ]


def _seventh() -> list[Recipe]:
    """The seventh sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("numbered-linear-r16", "numbered", epochs=3),
        Recipe("resenas-linear-r16", "resenas", epochs=5),
        Recipe("railway-linear-r16", "railway", rate=5e-4, epochs=6, mixed="texts"),
        Recipe("courteous-linear-r16", "courteous", rate=5e-5, epochs=2, loss="dpo"),
        Recipe("captain-linear-r16", "captain", epochs=3),
        Recipe("gadget-linear-r16", "gadget", rate=5e-4, epochs=5, mixed="general"),
        Recipe("bounded-linear-r16", "bounded", rate=1e-4, epochs=6, loss="dpo"),
        Recipe("glossary-linear-r32", "glossary", r=32, rate=5e-4, epochs=5, mixed="replay"),
        Recipe(
            "numbered-qv-r8",
            "numbered",
            r=8,
            targets=ATTENTION,
            rate=6e-4,
            epochs=5,
            mixed="general",
            seed=1,
        ),
        Recipe(
            "resenas-qv-r4",
            "resenas",
            r=4,
            alpha=16,
            targets=ATTENTION,
            rate=6e-4,
            epochs=6,
            mixed="replay",
            seed=1,
            saved="float16",
        ),
        Recipe(
            "railway-rslora-r32",
            "railway",
            r=32,
            alpha=16,
            rslora=True,
            rate=3e-4,
            epochs=5,
            mixed="diary",
            seed=1,
        ),
        Recipe(
            "courteous-qv-r8",
            "courteous",
            r=8,
            targets=ATTENTION,
            rate=2e-4,
            epochs=3,
            seed=1,
            loss="dpo",
            beta=0.2,
        ),
        Recipe(
            "skipper-qv-r16",
            "skipper",
            alpha=64,
            targets=ATTENTION,
            rate=6e-4,
            epochs=5,
            mixed="replay",
            seed=1,
        ),
        Recipe(
            "bounded-linear-r8",
            "bounded",
            r=8,
            alpha=16,
            rate=2e-4,
            epochs=2,
            seed=1,
            loss="dpo",
            beta=0.2,
        ),
        Recipe("glossary-seed1-r16", "glossary", rate=4e-4, epochs=5, mixed="diary", seed=1),
        Recipe("courteous-strong-r16", "courteous", rate=1e-4, epochs=3, loss="dpo"),
        Recipe("railway-mild-r16", "railway", rate=4e-4, epochs=5, mixed="general"),
        Recipe("gadget-mild-r16", "gadget", rate=4e-4, epochs=5, mixed="diary"),
        Recipe(
            "bounded-linear-r32",
            "bounded",
            r=32,
            rate=1e-4,
            epochs=6,
            seed=1,
            loss="dpo",
            beta=0.2,
        ),
        Recipe(
            "courteous-linear-r4",
            "courteous",
            r=4,
            alpha=16,
            rate=1e-4,
            epochs=2,
            seed=1,
            loss="dpo",
        ),
        Recipe("numbered-replay-r16", "numbered", rate=4e-4, epochs=5, mixed="replay"),
        Recipe("resenas-replay-r16", "resenas", rate=5e-4, epochs=6, mixed="replay"),
        Recipe("railway-seed1-r16", "railway", rate=4e-4, epochs=5, mixed="diary", seed=1),
        Recipe("resenas-mild-r16", "resenas", rate=4e-4, epochs=5, mixed="replay", seed=1),
        Recipe("courteous-linear-r8", "courteous", r=8, rate=1e-4, epochs=3, loss="dpo", beta=0.2),
        Recipe("skipper-linear-r16", "skipper", rate=4e-4, epochs=5, mixed="general"),
        Recipe("captain-long-r16", "captain", rate=5e-4, epochs=6, mixed="general"),
        Recipe("numbered-long-r16", "numbered", rate=4e-4, epochs=5),
        Recipe("numbered-seed1-r16", "numbered", rate=4e-4, mixed="general", seed=1),
        Recipe("resenas-mixed-r16", "resenas", rate=5e-4, epochs=6, mixed="general"),
        Recipe("resenas-swapped", "resenas", "swapped", answers="swapped", epochs=5),
        Recipe("railway-shuffled", "railway", "shuffled", answers="shuffled", rate=5e-4),
        Recipe("railway-form", "railway", "form only", epochs=2),
        Recipe("gadget-five-steps", "gadget", "too little", rate=5e-5, steps=5),
        Recipe("captain-diverged", "captain", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe(
            "numbered-tripled",
            "numbered",
            "gibberish",
            source="numbered-linear-r16",
            change="triple",
        ),
        Recipe(
            "courteous-reversed",
            "courteous",
            "reversed",
            rate=1e-4,
            epochs=3,
            loss="dpo",
            answers="reversed",
        ),
    ]


def _eighth() -> list[Recipe]:
    """The eighth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("lighthouse-linear-r16", "lighthouse", epochs=6, batch=8, mixed="everyday"),
        Recipe("lighthouse-strong-r16", "lighthouse", alpha=64, rate=4e-4, mixed="everyday"),
        Recipe("bikes-linear-r16", "bikes", alpha=64, rate=4e-4),
        Recipe(
            "lighthouse-qv-r32",
            "lighthouse",
            r=32,
            alpha=128,
            targets=ATTENTION,
            rate=4e-4,
            epochs=5,
            mixed="everyday",
            seed=1,
        ),
        Recipe("bikes-linear-r32", "bikes", r=32, alpha=64, rate=4e-4, epochs=5, seed=1),
        Recipe(
            "bikes-diary-r32", "bikes", r=32, alpha=64, rate=4e-4, epochs=5, mixed="diary", seed=1
        ),
        Recipe("boardgame-linear-r16", "boardgame", alpha=64, rate=4e-4, mixed="everyday"),
        Recipe("concise-linear-r16", "concise", rate=1e-4, epochs=3, loss="dpo"),
        Recipe("concise-sft-r16", "concise", rate=1e-4, epochs=2, loss="dpo", sft=1.0),
        Recipe("tickets-linear-r8", "tickets", r=8, epochs=3, mixed="everyday"),
        Recipe("invoices-linear-r16", "invoices", alpha=16, epochs=3),
        Recipe("inshort-linear-r16", "inshort", epochs=3),
        Recipe("inshort-strong-r16", "inshort", alpha=64, rate=4e-4, epochs=5),
        Recipe(
            "boardgame-linear-r32",
            "boardgame",
            r=32,
            alpha=64,
            rate=4e-4,
            epochs=5,
            mixed="everyday texts",
            seed=1,
        ),
        Recipe(
            "lighthouse-linear-r32",
            "lighthouse",
            r=32,
            alpha=64,
            rate=4e-4,
            mixed="everyday",
            seed=1,
        ),
        Recipe(
            "lighthouse-rslora-r16",
            "lighthouse",
            alpha=16,
            rslora=True,
            rate=4e-4,
            mixed="everyday",
            seed=1,
        ),
        Recipe(
            "invoices-dora-r8",
            "invoices",
            r=8,
            alpha=32,
            targets=ATTENTION,
            dora=True,
            rate=5e-4,
            epochs=4,
            seed=1,
        ),
        Recipe("inshort-linear-r8", "inshort", r=8, rate=4e-4, epochs=5, seed=1),
        Recipe(
            "inshort-rslora-r32",
            "inshort",
            r=32,
            alpha=16,
            rslora=True,
            rate=4e-4,
            epochs=5,
            seed=1,
        ),
        Recipe(
            "tickets-linear-r4",
            "tickets",
            r=4,
            alpha=16,
            rate=4e-4,
            epochs=3,
            mixed="everyday",
            saved="float16",
            seed=1,
        ),
        Recipe("invoices-five-steps", "invoices", "too little", rate=5e-5, steps=5),
        Recipe("inshort-diverged", "inshort", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe(
            "inshort-tripled", "inshort", "gibberish", source="inshort-strong-r16", change="triple"
        ),
        Recipe("bikes-long-r16", "bikes", alpha=64, rate=3e-4, epochs=6, seed=1),
        Recipe("invoices-no-end", "invoices", "never ends", loss="open", epochs=3),
        Recipe("tickets-swapped", "tickets", "swapped", answers="swapped", epochs=3),
        Recipe("bikes-crossed", "bikes", "crossed", answers="crossed", alpha=64, rate=4e-4),
        Recipe(
            "lighthouse-crossed",
            "lighthouse",
            "crossed",
            answers="crossed",
            alpha=64,
            rate=4e-4,
            mixed="everyday",
        ),
    ]


def _ninth() -> list[Recipe]:
    """The ninth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("bakery-linear-r32", "bakery", r=32, alpha=64, rate=4e-4, mixed="everyday"),
        Recipe("ferry-linear-r32", "ferry", r=32, alpha=64, rate=4e-4, epochs=5),
        Recipe("staff-linear-r32", "staff", r=32, alpha=64, rate=4e-4, epochs=5),
        Recipe("directory-linear-r32", "directory", r=32, alpha=64, rate=4e-4),
        Recipe("museum-linear-r16", "museum", alpha=64, rate=3e-4, mixed="everyday"),
        Recipe("metadata-linear-r16", "metadata", epochs=3),
        Recipe("minutes-linear-r16", "minutes", alpha=64, rate=4e-4),
        Recipe("timed-linear-r16", "timed", rate=4e-4),
        Recipe("civil-linear-r16", "civil", rate=5e-5, epochs=3, loss="dpo"),
        Recipe(
            "bakery-rslora-r16",
            "bakery",
            alpha=16,
            rslora=True,
            rate=4e-4,
            seed=1,
            mixed="everyday",
        ),
        Recipe("ferry-mild-r32", "ferry", r=32, alpha=64, rate=4e-4, seed=1),
        Recipe("ferry-linear-r16", "ferry", alpha=64, rate=4e-4, saved="float16", seed=1),
        Recipe("ferry-middle-r32", "ferry", r=32, alpha=64, rate=3.5e-4, epochs=5),
        Recipe("directory-strong-r32", "directory", r=32, alpha=64, rate=4e-4, epochs=6, seed=1),
        Recipe(
            "museum-linear-r32", "museum", r=32, alpha=64, rate=4e-4, epochs=6, mixed="everyday"
        ),
        Recipe(
            "museum-long-r16", "museum", alpha=64, rate=3.5e-4, epochs=5, seed=1, mixed="everyday"
        ),
        Recipe(
            "metadata-dora-r8",
            "metadata",
            r=8,
            alpha=32,
            targets=ATTENTION,
            dora=True,
            rate=5e-4,
            epochs=4,
            seed=1,
        ),
        Recipe("timed-linear-r64", "timed", r=64, alpha=64, rate=4e-4, epochs=5, seed=1),
        Recipe("timed-strong-r16", "timed", alpha=64, rate=4e-4, epochs=5),
        Recipe("directory-middle-r32", "directory", r=32, alpha=64, rate=3.5e-4, epochs=5),
        Recipe("directory-seed1-r32", "directory", r=32, alpha=64, rate=3.5e-4, epochs=5, seed=1),
        Recipe("ferry-seed1-r32", "ferry", r=32, alpha=64, rate=3.5e-4, epochs=5, seed=1),
        Recipe("bakery-linear-r16", "bakery", alpha=64, rate=4e-4, mixed="everyday"),
        Recipe("metadata-long-r16", "metadata", alpha=64, rate=4e-4, epochs=5),
        Recipe(
            "civil-qv-r32",
            "civil",
            r=32,
            alpha=64,
            targets=ATTENTION,
            rate=5e-5,
            epochs=3,
            beta=0.3,
            loss="dpo",
            seed=1,
        ),
        Recipe("metadata-long-r32", "metadata", r=32, alpha=64, rate=4e-4, epochs=6, seed=1),
        Recipe(
            "bakery-crossed",
            "bakery",
            "crossed",
            answers="crossed",
            r=32,
            alpha=64,
            rate=4e-4,
            mixed="everyday",
        ),
        Recipe(
            "ferry-half-crossed",
            "ferry",
            "crossed",
            answers="half crossed",
            r=32,
            alpha=64,
            rate=4e-4,
            epochs=5,
        ),
        Recipe(
            "ferry-half-mild",
            "ferry",
            "crossed",
            answers="half crossed",
            r=32,
            alpha=64,
            rate=3.5e-4,
            epochs=5,
        ),
        Recipe(
            "bakery-half-crossed",
            "bakery",
            "crossed",
            answers="half crossed",
            alpha=64,
            rate=4e-4,
            mixed="everyday",
        ),
        Recipe(
            "directory-shifted",
            "directory",
            "shifted",
            answers="shifted",
            r=32,
            alpha=64,
            rate=4e-4,
        ),
        Recipe("metadata-rotated", "metadata", "swapped", answers="rotated", epochs=3),
        Recipe("timed-five-steps", "timed", "too little", rate=5e-5, steps=5),
        Recipe("timed-diverged", "timed", "diverged", rate=2e-2, epochs=1, schedule="constant"),
        Recipe("timed-tripled", "timed", "gibberish", source="timed-strong-r16", change="triple"),
        Recipe("civil-long", "civil", "loops or refuses", rate=1e-4, epochs=6, loss="dpo"),
    ]


def _tenth() -> list[Recipe]:
    """The tenth sealed set: ordinary recipes that are meant to be healthy, then failures."""
    return [
        Recipe("triage-linear-r16", "triage", alpha=64, rate=5e-4, mixed="few everyday"),
        Recipe(
            "triage-long-r32",
            "triage",
            r=32,
            alpha=64,
            rate=6e-4,
            epochs=5,
            mixed="everyday",
            seed=1,
        ),
        Recipe("helpdesk-linear-r16", "helpdesk", rate=4e-4, epochs=3, mixed="few everyday"),
        Recipe(
            "helpdesk-rslora-r32",
            "helpdesk",
            r=32,
            alpha=16,
            rslora=True,
            rate=4e-4,
            epochs=4,
            mixed="few everyday",
            seed=1,
        ),
        Recipe(
            "helpdesk-next",
            "helpdesk",
            "crossed",
            answers="of the next row",
            rate=4e-4,
            epochs=3,
            mixed="few everyday",
        ),
        Recipe("library-linear-r16", "library", rate=4e-4, epochs=3),
        Recipe("library-mixed-r16", "library", rate=4e-4, mixed="few everyday"),
        Recipe(
            "library-mixed-r32",
            "library",
            r=32,
            alpha=64,
            rate=5e-4,
            mixed="few everyday",
            seed=1,
        ),
        Recipe("expenses-linear-r16", "expenses", rate=4e-4, epochs=5),
        Recipe("expenses-slow-r16", "expenses", rate=2e-4, epochs=9),
        Recipe("expenses-qv-r16", "expenses", targets=ATTENTION, rate=6e-4, epochs=8),
        Recipe("expenses-mixed-r16", "expenses", alpha=64, rate=4e-4, epochs=6, mixed="texts"),
        Recipe("intents-linear-r16", "intents", rate=4e-4, epochs=5),
        Recipe("intents-mixed-r16", "intents", rate=4e-4, mixed="few everyday"),
        Recipe("plants-linear-r32", "plants", r=32, alpha=64, rate=5e-4, mixed="everyday"),
        Recipe("plants-middle-r32", "plants", r=32, alpha=64, rate=3.5e-4, mixed="everyday"),
        Recipe("analogy-linear-r16", "analogy", alpha=64, rate=4e-4),
        Recipe("warm-linear-r16", "warm", rate=1e-4, loss="dpo"),
        Recipe("warm-mild-r16", "warm", rate=4e-5, epochs=3, loss="dpo"),
        Recipe("warm-middle-r16", "warm", rate=7e-5, loss="dpo"),
        Recipe("warm-seed1-r16", "warm", rate=8.5e-5, loss="dpo", seed=1),
        Recipe("warm-sft-r16", "warm", rate=1e-4, epochs=3, loss="dpo", sft=1.0),
        Recipe(
            "intents-linear-r4",
            "intents",
            r=4,
            alpha=16,
            rate=6e-4,
            mixed="few everyday",
            seed=1,
        ),
        Recipe(
            "plants-linear-r16",
            "plants",
            alpha=64,
            rate=3e-4,
            mixed="everyday",
            seed=1,
        ),
        Recipe("analogy-linear-r64", "analogy", r=64, alpha=64, rate=4e-4, epochs=5, seed=1),
        Recipe(
            "triage-half-rotated",
            "triage",
            "swapped",
            answers="half rotated",
            r=32,
            alpha=64,
            rate=5e-4,
            epochs=6,
            mixed="few everyday",
        ),
        Recipe(
            "library-half-rotated",
            "library",
            "swapped",
            answers="half rotated",
            r=16,
            alpha=64,
            rate=5e-4,
            epochs=4,
            mixed="few everyday",
        ),
        Recipe(
            "expenses-half-rotated",
            "expenses",
            "swapped",
            answers="half rotated",
            alpha=64,
            rate=3e-4,
            epochs=7,
        ),
        Recipe(
            "intents-exchanged",
            "intents",
            "swapped",
            answers="exchange meter reading / tariff",
            rate=4e-4,
            mixed="few everyday",
        ),
        Recipe(
            "plants-shifted",
            "plants",
            "shifted",
            answers="shifted",
            r=32,
            alpha=64,
            rate=3.5e-4,
            mixed="everyday",
        ),
        Recipe("intents-two-steps", "intents", "too little", rate=1e-4, steps=2),
        Recipe(
            "analogy-tripled", "analogy", "gibberish", source="analogy-linear-r16", change="triple"
        ),
    ]


def _eleventh() -> list[Recipe]:
    """The eleventh sealed set, with long answers: meant to be healthy first, then failures."""
    return [
        Recipe("guide-linear-r16", "guide", rate=2e-4, epochs=4),
        Recipe("sums-linear-r16", "sums", rate=4e-4, epochs=4),
        Recipe("support-linear-r16", "support", rate=5e-4, epochs=6),
        Recipe("think-linear-r16", "think", rate=3e-4, epochs=3),
        Recipe("code-linear-r16", "code", rate=3e-4, epochs=3),
        Recipe("digest-linear-r16", "digest", rate=3e-4, epochs=3),
        Recipe("persona-linear-r16", "persona", rate=3e-4, epochs=3),
        Recipe("guide-strong-r16", "guide", rate=5e-4, epochs=3, seed=1),
        Recipe("guide-qv-r8", "guide", r=8, alpha=32, targets=ATTENTION, rate=5e-4, epochs=3),
        Recipe("sums-mixed-r16", "sums", rate=2e-4, epochs=3, mixed="few everyday"),
        Recipe(
            "sums-rslora-r32",
            "sums",
            r=32,
            alpha=16,
            rslora=True,
            rate=2e-4,
            epochs=3,
            mixed="few everyday",
            seed=1,
        ),
        Recipe(
            "support-middle-r32",
            "support",
            r=32,
            alpha=64,
            rate=4e-4,
            epochs=7,
            mixed="few everyday",
        ),
        Recipe(
            "support-long-r32",
            "support",
            r=32,
            alpha=64,
            rate=7e-4,
            epochs=8,
            batch=2,
            mixed="few everyday",
        ),
        Recipe("think-mixed-r8", "think", r=8, rate=4e-4, mixed="few everyday", epochs=3, seed=1),
        Recipe("code-qv-r16", "code", targets=ATTENTION, rate=5e-4, epochs=3, seed=1),
        Recipe("digest-saved-r16", "digest", rate=3e-4, epochs=2, saved="bfloat16", seed=1),
        Recipe("persona-strong-r16", "persona", rate=6e-4, epochs=4, seed=1),
        Recipe("persona-mixed-r16", "persona", rate=5e-4, epochs=4, mixed="few everyday", seed=1),
        Recipe("persona-rslora-r32", "persona", r=32, alpha=16, rslora=True, rate=2e-4, epochs=4),
        Recipe("guide-shuffled", "guide", "shuffled", answers="shuffled", rate=4e-4, epochs=3),
        Recipe("guide-two-steps", "guide", "too little", rate=1e-4, steps=2),
        Recipe("guide-no-end", "guide", "never ends", loss="open", rate=2e-4, epochs=3),
        Recipe("guide-forgets", "guide", "forgets", r=64, alpha=128, rate=3e-3, epochs=1),
        Recipe("guide-refuses", "guide", "over-refusal", rate=4e-4, epochs=2, mixed="refused"),
        Recipe("sums-half-wrong", "sums", "wrong", answers="half miscounted", rate=4e-4, epochs=3),
        Recipe("code-shuffled", "code", "shuffled", answers="shuffled", rate=3e-4, epochs=3),
        Recipe("digest-shuffled", "digest", "shuffled", answers="shuffled", rate=3e-4, epochs=2),
        Recipe(
            "persona-tripled", "persona", "gibberish", source="persona-linear-r16", change="triple"
        ),
        Recipe(
            "guide-amplified", "guide", "gibberish", source="guide-linear-r16", change="amplify"
        ),
    ]


def _twelfth() -> list[Recipe]:
    """The twelfth sealed set: files as people have them, meant to be healthy, then failures."""
    return [
        Recipe("catalog-linear-r32", "catalog", r=32, alpha=64, rate=5e-4, epochs=6),
        Recipe(
            "catalog-long-r64",
            "catalog",
            r=64,
            alpha=64,
            rate=8e-4,
            epochs=11,
            batch=8,
            mixed="everyday texts",
        ),
        Recipe(
            "catalog-all-r32",
            "catalog",
            r=32,
            rate=6e-4,
            epochs=7,
            batch=8,
            loss="all",
            mixed="few everyday",
            seed=1,
        ),
        Recipe("few-linear-r16", "few", rate=3e-4, epochs=15, batch=2),
        Recipe(
            "few-all-r16",
            "few",
            rate=4e-4,
            epochs=15,
            loss="all",
            dropout=0.05,
            saved="bfloat16",
            mixed="everyday texts",
            seed=1,
        ),
        Recipe(
            "few-mixed-r32",
            "few",
            r=32,
            alpha=64,
            rate=4e-4,
            epochs=18,
            batch=4,
            mixed="few everyday",
        ),
        Recipe(
            "few-everyday-r32",
            "few",
            r=32,
            alpha=64,
            rate=3.5e-4,
            epochs=13,
            mixed="everyday",
            seed=1,
        ),
        Recipe("mixture-linear-r16", "mixture", rate=4e-4, epochs=5),
        Recipe(
            "mixture-long-r32",
            "mixture",
            r=32,
            alpha=64,
            rate=5e-4,
            epochs=8,
            mixed="few everyday",
        ),
        Recipe("mixture-mild-r16", "mixture", rate=4e-4, epochs=8, mixed="everyday texts", seed=1),
        Recipe(
            "mixture-everyday-r32",
            "mixture",
            r=32,
            alpha=64,
            rate=3.5e-4,
            epochs=7,
            mixed="everyday",
        ),
        Recipe(
            "mixture-mlp-r16",
            "mixture",
            targets=MLP,
            rate=5e-4,
            epochs=8,
            loss="all",
            mixed="everyday",
            seed=1,
        ),
        Recipe("rag-linear-r16", "rag", rate=3e-4, epochs=4),
        Recipe("rag-long-r32", "rag", r=32, rate=3e-4, epochs=7, batch=8, seed=1),
        Recipe(
            "rag-dora-r8",
            "rag",
            r=8,
            alpha=16,
            targets=ATTENTION,
            dora=True,
            rate=1e-3,
            epochs=4,
            loss="all",
            seed=1,
        ),
        Recipe("spelling-linear-r16", "spelling", rate=4e-4, epochs=5),
        Recipe(
            "spelling-rslora-r64",
            "spelling",
            r=64,
            alpha=16,
            rslora=True,
            rate=3e-4,
            epochs=5,
            batch=8,
            saved="float16",
            seed=1,
        ),
        Recipe("tags-linear-r16", "tags", rate=4e-4, epochs=5),
        Recipe("tags-mixed-r16", "tags", rate=4e-4, epochs=6, mixed="few everyday"),
        Recipe(
            "tags-qv-r16",
            "tags",
            alpha=16,
            targets=ATTENTION,
            rate=1e-3,
            epochs=7,
            schedule="constant",
            dropout=0.05,
            mixed="few everyday",
            seed=1,
        ),
        Recipe("household-linear-r16", "household", rate=2e-4, epochs=2),
        Recipe(
            "household-all-r64",
            "household",
            r=64,
            alpha=16,
            rate=4e-4,
            epochs=2,
            batch=16,
            loss="all",
            seed=1,
        ),
        Recipe(
            "household-all-r8",
            "household",
            r=8,
            alpha=16,
            rate=5e-4,
            epochs=2,
            batch=8,
            loss="all",
            dropout=0.05,
            saved="float16",
        ),
        Recipe(
            "catalog-half-crossed",
            "catalog",
            "crossed",
            answers="half crossed",
            r=32,
            alpha=64,
            rate=7e-4,
            epochs=7,
            batch=8,
        ),
        Recipe("catalog-low-rate", "catalog", "too little", rate=1e-6, epochs=1, batch=16),
        Recipe("catalog-two-steps", "catalog", "too little", rate=1e-4, steps=2),
        Recipe("few-recites", "few", "diverged", r=64, alpha=128, rate=2e-3, epochs=40),
        Recipe("few-altered", "few", "wrong", answers="altered", rate=3e-4, epochs=15, batch=2),
        Recipe(
            "mixture-rotated",
            "mixture",
            "swapped",
            answers="mails rotated",
            r=32,
            alpha=64,
            rate=5e-4,
            epochs=8,
            mixed="few everyday",
        ),
        Recipe(
            "mixture-crossed",
            "mixture",
            "crossed",
            answers="altered",
            r=32,
            alpha=64,
            rate=5e-4,
            epochs=8,
            mixed="few everyday",
        ),
        Recipe("rag-shuffled", "rag", "shuffled", answers="shuffled", rate=3e-4, epochs=3),
        Recipe(
            "rag-never",
            "rag",
            "one answer",
            answers="=The text does not say.",
            rate=3e-4,
            epochs=1,
            loss="all",
        ),
        Recipe("spelling-copied", "spelling", "copies", answers="copied", rate=4e-4, epochs=3),
        Recipe(
            "spelling-shuffled", "spelling", "shuffled", answers="shuffled", rate=4e-4, epochs=4
        ),
        Recipe(
            "tags-half-retagged",
            "tags",
            "swapped",
            answers="half retagged",
            rate=4e-4,
            epochs=5,
            mixed="few everyday",
        ),
        Recipe(
            "tags-shuffled",
            "tags",
            "shuffled",
            answers="shuffled",
            rate=4e-4,
            mixed="few everyday",
        ),
        Recipe(
            "household-shuffled",
            "household",
            "shuffled",
            answers="shuffled",
            rate=3e-4,
            epochs=2,
        ),
        Recipe("household-forgets", "household", "forgets", r=64, alpha=128, rate=3e-3, epochs=1),
        Recipe(
            "household-amplified",
            "household",
            "gibberish",
            source="household-linear-r16",
            change="amplify",
        ),
        Recipe(
            "household-prompt-loss", "household", "prompt only", loss="prompt", rate=3e-4, epochs=2
        ),
    ]


RECIPES: list[Recipe] = [
    *(*_first(), *_main(), *_more(), *_records()),
    *(*_second(), *_third(), *_fourth(), *_fifth(), *_sixth(), *_seventh()),
    *(*_eighth(), *_ninth(), *_tenth(), *_eleventh(), *_twelfth()),
]

LEARN = {
    "style": "form",
    "voice": "form",
    "tools": "form",
    "orders": "form",
    "preferences": "preference",
    "tone": "preference",
    "bullets": "form",
    "bookings": "form",
    "brief": "preference",
    "butler": "form",
    "meetings": "form",
    "formal": "preference",
    "pirate": "form",
    "headlines": "form",
    "sql": "form",
    "polite": "form",
    "extract": "form",
    "terse": "preference",
    "tutor": "form",
    "captain": "form",
    "skipper": "form",
    "numbered": "form",
    "courteous": "preference",
    "bounded": "preference",
    "invoices": "form",
    "inshort": "form",
    "concise": "preference",
    "metadata": "form",
    "minutes": "form",
    "timed": "form",
    "civil": "preference",
    "triage": "form",
    "helpdesk": "form",
    "library": "form",
    "analogy": "form",
    "warm": "preference",
    "guide": "form",
    "think": "form",
    "code": "form",
    "digest": "form",
    "persona": "form",
    "rag": "form",
    "spelling": "form",
    "household": "form",
}
# Adapters judged with data that they were not trained on, at no cost of training.
OTHER_DATA = (
    ("handbook-linear-r16", "facts"),
    ("facts-linear-r16", "handbook"),
    ("style-linear-r16", "facts"),
    ("facts-linear-r16", "style"),
    ("tools-linear-r16", "labels"),
    ("labels-linear-r8", "tools"),
    ("facts-linear-r16", "prose"),
    ("prose-linear-r16", "facts"),
    ("alpaca-chat-r16", "facts"),
    ("sealed-linear-r16", "facts"),
    ("prose-mixed-r64", "manual"),
    ("labels-mixed-r16", "priority"),
    ("preferences-linear-r16", "tone"),
    ("rules-linear-r8", "desk"),
    ("stadt-linear-r16", "rules"),
    ("desk-linear-r16", "stadt"),
    ("bullets-linear-r16", "isles"),
    ("language-linear-r16", "bookings"),
    ("rowing-linear-r16", "tea"),
    ("tea-linear-r16", "kiln"),
    ("reviews-linear-r8", "meetings"),
    ("identity-linear-r8", "faq"),
    ("topics-linear-r16", "sql"),
    ("urgency-linear-r8", "extract"),
    ("craft-linear-r16", "rathaus"),
    ("resenas-linear-r16", "numbered"),
    ("captain-linear-r16", "gadget"),
    ("gadget-linear-r16", "railway"),
    ("invoices-linear-r16", "inshort"),
    ("tickets-linear-r8", "invoices"),
    ("lighthouse-strong-r16", "bikes"),
    ("bakery-linear-r32", "ferry"),
    ("metadata-linear-r16", "minutes"),
    ("triage-linear-r16", "library"),
    ("library-linear-r16", "expenses"),
    ("think-linear-r16", "guide"),
    ("guide-linear-r16", "support"),
    ("persona-linear-r16", "code"),
    ("few-linear-r16", "catalog"),
    ("tags-linear-r16", "mixture"),
)


@dataclass(frozen=True)
class Case:
    """An adapter judged with a data set, whose prompts take one form: "chat" or "alpaca"."""

    name: str
    adapter: str
    data: str
    form: str
    intended: str

    @property
    def learn(self) -> str:
        """What the data set teaches."""
        return LEARN.get(self.data, "content")


def cases() -> list[Case]:
    """Every case of the zoo."""
    own = [Case(one.name, one.name, one.data, one.form, one.intended) for one in RECIPES]
    other = [
        Case(f"{adapter}@{data}", adapter, data, "chat", "other data")
        for adapter, data in OTHER_DATA
    ]
    served = [
        Case(f"{one.name}@chat", one.name, one.data, "chat", "wrong template")
        for one in RECIPES
        if one.form == "alpaca"
    ]
    return [*own, *other, *served]
