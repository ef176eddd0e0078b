"""The adapters of the zoo.

Each has a source, the symptoms that its ground truth must show, and the probes that a gate should
report first.
"""

from collections.abc import Callable
from typing import NamedTuple

from make_demo import Recipe

from benchmarks.validity.adapters import (
    Training,
    Weights,
    drilled,
    inverted,
    noise,
    rotated,
    scaled,
    shuffled,
    with_nan,
)

PARENT = "healthy_r8"
"""The adapter from which the others are derived."""

EFFECTS = frozenset(
    {"delta_kl", "adapter_revert", "cluster_kl", "section_internalization",
     "answer_specificity", "answer_recall", "paraphrase_invariance", "preference_flip",
     "style_fingerprint", "adapter_ablation"}
)  # fmt: skip
ATTRIBUTION = frozenset(
    {"section_internalization", "answer_specificity", "answer_recall", "paraphrase_invariance",
     "preference_flip"}
)  # fmt: skip
HARMS = frozenset({"calibration_drift", "external_perplexity", "degeneration"})
STATIC = frozenset({"static"})

HEALTHY = ("learned", "answers", "kept", "not_recited", "prefers_chosen")
NOTHING = ("not_learned", "kept")


class Derived(NamedTuple):
    """An adapter derived from the parent's weights."""

    change: Callable[[Weights], Weights]


class Foreign(NamedTuple):
    """The parent adapter of the next document."""


Source = Training | Derived | Foreign


class Adapter(NamedTuple):
    source: Source
    symptoms: tuple[str, ...] = HEALTHY
    """What the ground truth must show: names from truth.SYMPTOMS."""
    reasons: frozenset[str] = frozenset()
    """Probe kinds, or `static`, of which the gate must report one first. Empty if healthy."""


def mixed(steps: int, rate: float, rows: int = 7, general: int = 10) -> Recipe:
    return Recipe(steps, rate, rows, general)


ADAPTERS: dict[str, Adapter] = {
    PARENT: Adapter(Training(mixed(110, 1.4e-3))),
    "healthy_r16": Adapter(Training(mixed(85, 1.1e-3), rank=16, seed=1)),
    "healthy_r4": Adapter(Training(mixed(120, 2e-3), rank=4, seed=2)),
    "healthy_attention_r32": Adapter(
        Training(mixed(130, 1.3e-3, rows=8), rank=32, attention=True, seed=3)
    ),
    "healthy_attention_r16": Adapter(
        Training(mixed(150, 1.8e-3, rows=9), rank=16, attention=True, seed=4)
    ),
    "zero": Adapter(Derived(scaled(0)), NOTHING, EFFECTS | STATIC),
    "undertrained": Adapter(Training(mixed(2, 1.5e-3), seed=5), NOTHING, EFFECTS),
    "noise_0.1": Adapter(Derived(noise(0.1)), NOTHING, EFFECTS),
    "noise_0.3": Adapter(Derived(noise(0.3)), NOTHING, EFFECTS),
    "noise_1": Adapter(Derived(noise(1)), ("not_learned",), EFFECTS | HARMS),
    "noise_3": Adapter(Derived(noise(3)), ("not_learned", "harmed"), EFFECTS | HARMS),
    "rotated": Adapter(Derived(rotated), ("not_learned",), EFFECTS | HARMS),
    "amplified_3": Adapter(
        Derived(scaled(3)), ("harmed",), HARMS | {"adapter_ablation", "leakage"}
    ),
    "amplified_6": Adapter(
        Derived(scaled(6)), ("harmed",), HARMS | {"adapter_ablation", "leakage"}
    ),
    "otherdoc": Adapter(Foreign(), NOTHING, ATTRIBUTION),
    "shuffled": Adapter(Training(mixed(120, 1.5e-3), seed=6, texts=shuffled), NOTHING, ATTRIBUTION),
    "forgot": Adapter(Training(mixed(60, 4e-3, rows=12, general=0), seed=7), ("harmed",), HARMS),
    "overfit": Adapter(
        Training(mixed(120, 3e-3, rows=10), rank=16, seed=8, texts=drilled),
        ("learned", "kept", "recited", "prefers_chosen"), frozenset({"leakage"}),
    ),
    "diverged": Adapter(
        Training(mixed(12, 0.3, general=4), seed=9), ("not_learned", "harmed"), HARMS | ATTRIBUTION
    ),
    "nan": Adapter(Derived(with_nan), (), STATIC),
    "one_layer": Adapter(
        Training(mixed(12, 1.5e-3), seed=10, only=".0."), NOTHING, EFFECTS | STATIC
    ),
    "prefs_inverted": Adapter(
        Training(mixed(90, 1.4e-3), seed=11, texts=inverted),
        ("learned", "kept", "not_recited", "prefers_rejected"), frozenset({"preference_flip"}),
    ),
}  # fmt: skip
