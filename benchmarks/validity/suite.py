"""The suite for all adapters of the zoo; it depends on the document, not on the base.

It contains every kind except four. style_fingerprint: the bases' training text and the documents
have the same style, so no adapter can learn one. prompt_format and refusals: the bases have no chat
template. generalization: its held-out rows would be the questions in other words, which
paraphrase_invariance asks. section_internalization is in addition to what `sway init` writes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import make_demo as demo
import yaml

from benchmarks.validity.documents import Document, off_topic

Fields = dict[str, Any]


def suite(document: Document, base: Path, adapter: Path, embedding_model: str) -> Fields:
    """A complete sway.yaml. `embedding_model`: folder or hub id of a sentence embedder."""
    model = {"kind": "hf", "base": str(base), "dtype": "fp32", "device": "cpu"}
    return {
        "version": 1,
        "models": {"base": model, "ft": {**model, "adapter": str(adapter)}},
        "suite": [*harms(), *effects(document), *meanings(document, embedding_model)],
        "sections": sections(document),
    }


def text(spec: Mapping[str, Any]) -> str:
    return yaml.dump(dict(spec), Dumper=demo.Dumper, sort_keys=False, width=100, allow_unicode=True)


def harms() -> list[Fields]:
    """Harm probes; first in the suite, so that the report gives harm as the first reason."""
    return [
        {"name": "null_baseline", "kind": "null_adapter"},
        # The only prose that these bases know; they cannot lose what they never learned.
        {"name": "kept_prose", "kind": "external_perplexity", "corpus": "public_domain_en",
         "max_chunks": 8},
        {"name": "kept_knowledge", "kind": "calibration_drift", "items_limit": 60},
        {"name": "recites_nothing", "kind": "leakage"},
        {"name": "writes_whole_answers", "kind": "degeneration"},
    ]  # fmt: skip


def effects(document: Document) -> list[Fields]:
    prompts = list(document.topical)
    return [
        {"name": "moved_from_base", "kind": "delta_kl", "prompts": prompts},
        {"name": "learned_the_document", "kind": "section_internalization"},
        {"name": "learned_its_answers", "kind": "answer_specificity"},
        {"name": "says_its_answers", "kind": "answer_recall"},
        {"name": "generalizes", "kind": "paraphrase_invariance", "cases": cases(document)},
        {"name": "prefers_the_document", "kind": "preference_flip", "triples": triples(document)},
        {"name": "holds_in_context", "kind": "prompt_collapse", "prompts": prompts,
         "context_lengths": [0, 128, 256, 512]},
        {"name": "grows_with_scale", "kind": "adapter_ablation", "prompts": prompts[1::2]},
    ]  # fmt: skip


def meanings(document: Document, embedding_model: str) -> list[Fields]:
    """Probes of the kinds that need sentence embeddings."""
    own = [
        *(prompt for prompt, _ in document.questions),
        *(p.prompt for p in document.preferences),
        *document.topical,
    ]
    other = [prompt for prompts in off_topic().values() for prompt in prompts]
    return [
        # With bases of two million parameters, healthy adapters also reword half of the answers.
        {"name": "answers_as_taught", "kind": "adapter_revert", "cases": cases(document),
         "max_new_tokens": 24, "assert_revert_rate_lt": 0.5, "embedding_model": embedding_model},
        {"name": "changed_its_subject_only", "kind": "cluster_kl", "prompts": [*own, *other],
         "positions": 8, "embedding_model": embedding_model},
    ]  # fmt: skip


def cases(document: Document) -> list[Fields]:
    return [
        {"prompt": prompt, "gold": gold, "paraphrases": list(paraphrases)}
        for (prompt, gold), paraphrases in zip(
            document.questions, document.paraphrases, strict=True
        )
    ]


def triples(document: Document) -> list[Fields]:
    return [preference._asdict() for preference in document.preferences]


def sections(document: Document) -> list[Fields]:
    prose = [
        {"id": demo.slug(s.title), "kind": "prose", "tag": s.title, "content": s.body}
        for s in document.prose
    ]
    return [*prose, demo.questions_section(document.questions)]
