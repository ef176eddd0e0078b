"""Verdicts on the demo, on the dummy backend, and of all kinds on tiny seeded models."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from tests.recorded.words import without_estimate
from tests.recorded.workshop import Said, Workshop, minilm, timeless, verdict, without_digests

# ------------------------------------------------------------------------------------ the demo


def _kept_gate(work: Workshop, name: str, *argv: str, of_made_models: bool = True) -> Said:
    """Record a gate: its output and its JSON report."""
    said = work.sway("gate", *argv, "--json", f"{name}.json")
    told = timeless(f"exit code {said.code}\n{said.out}{said.err}")
    work.keep(f"{name}.txt", without_digests(told) if of_made_models else told)
    if (work.folder / f"{name}.json").exists():
        found = verdict(work.read(f"{name}.json"), of_made_models=of_made_models)
        work.keep_json(f"{name}.json", found)
    return said


def _trace(text: str) -> str:
    """The events, one per line, without times and versions."""
    events = [json.loads(line) for line in text.splitlines()]
    for event in events:
        event |= {field: "TIME" for field in ("seconds", "saved") if field in event}
        event |= {"sway": "VERSION"} if "sway" in event else {}
    return "\n".join(json.dumps(event, ensure_ascii=False) for event in events)


def demo_healthy(work: Workshop) -> None:
    """The demo's healthy adapter: verdict, report and trace.

    Then the cached verdict, with its own result as the baseline, and a verdict with other weights.
    """
    work.bring_demo()
    spec = "demo/healthy.sway.yaml"
    _kept_gate(work, "gate", spec, "--trace", "t.trace", of_made_models=False)
    work.keep("trace.jsonl", _trace(work.read("t.trace")))
    work.keep("accept.txt", work.told("baseline", "update", "b.json", "--from", "gate.json"))
    _kept_gate(work, "cached", spec, "--baseline", "b.json", of_made_models=False)
    again = ("--threshold", "0.95", "--weights", "ablation=0,calibration=2", "--quiet")
    _kept_gate(work, "stricter", spec, *again, of_made_models=False)


def demo_untrained(work: Workshop) -> None:
    """The demo's untrained adapter."""
    work.bring_demo()
    _kept_gate(work, "gate", "demo/untrained.sway.yaml", "--no-cache", of_made_models=False)


DEMO_CASES = [
    {
        "prompt": "Question: Who feeds the ravens?\nAnswer:",
        "gold": " Old Tam feeds the ravens.",
        "paraphrases": ["Who gives the ravens their food?", "By whom are the ravens fed?"],
    },
    {
        "prompt": "The island of Marrowby lives by",
        "gold": " salt and glass.",
        "paraphrases": ["What the island of Marrowby lives by is", "On Marrowby they live by"],
    },
]
DEMO_TRIPLES = [
    {"prompt": "Marrowby is a village of", "chosen": " forty houses", "rejected": " nine towers"},
    {"prompt": "The houses are painted", "chosen": " yellow", "rejected": " green and red"},
    {"prompt": "The children learn to swim before", "chosen": " they walk", "rejected": " noon"},
]
DEMO_PROMPTS = [
    "Marrowby is a village of",
    "The keeper of the sand road is",
    "The island of Marrowby lives by",
    "The ravens of Marrowby live in",
    "The school of Marrowby is",
    "In the beginning there was",
    "He took the train to",
    "My mother said that",
]
OTHER_KINDS: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 4},
    {"name": "reverts", "kind": "adapter_revert", "cases": DEMO_CASES, "max_new_tokens": 12},
    {
        "name": "lasts",
        "kind": "prompt_collapse",
        "prompts": DEMO_PROMPTS[:4],
        "context_lengths": [0, 32, 64],
    },
    {
        "name": "topics",
        "kind": "cluster_kl",
        "prompts": DEMO_PROMPTS,
        "num_clusters": 2,
        "min_prompts": 4,
    },
    {"name": "in other words", "kind": "paraphrase_invariance", "cases": DEMO_CASES},
    {"name": "prefers", "kind": "preference_flip", "triples": DEMO_TRIPLES},
    {
        "name": "style",
        "kind": "style_fingerprint",
        "prompts": DEMO_PROMPTS[:3],
        "max_new_tokens": 32,
        "extended": "off",
    },
    {"name": "recites", "kind": "leakage", "evidence": "generate", "max_new_tokens": 32},
]


def demo_other_kinds(work: Workshop) -> None:
    """The kinds that the demo's specs do not contain, on its healthy adapter."""
    work.bring_demo()
    document = yaml.safe_load(work.read("demo/healthy.sway.yaml"))
    document |= {"suite": _with_embeddings(OTHER_KINDS)}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    work.write("demo/other.sway.yaml", text)
    _kept_gate(work, "gate", "demo/other.sway.yaml", "--no-cache", of_made_models=False)


def _with_embeddings(suite: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The suite with the folder of the embedding model in each probe that needs it."""
    model = str(minilm() or "sentence-transformers/all-MiniLM-L6-v2")
    embeds = {"adapter_revert", "cluster_kl"}
    return [{**e, "embedding_model": model} if e["kind"] in embeds else e for e in suite]


# --------------------------------------------------------------------------- the dummy backend

LEARNED = "the old mill by the river grinds the corn of the whole valley"
DUMMY_CASE = {
    "prompt": "the old mill by the river",
    "gold": "grinds the corn",
    "paraphrases": ["near the river", "a yellow dog", "my cat"],
}
DUMMY_CASES = [
    DUMMY_CASE,
    {"prompt": "the old mill", "gold": "by the river", "paraphrases": ["an old mill", "my mill"]},
    {"prompt": "grinds the corn", "gold": "of the whole valley", "paraphrases": ["the corn"]},
    {"prompt": "by the river", "gold": "grinds the corn", "paraphrases": ["near the river"]},
]
DUMMY_SUITE: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 5, "rank_multipliers": [1.0, 0.5]},
    {
        "name": "moved",
        "kind": "delta_kl",
        "prompts": ["the old mill", "my yellow dog", "by the river", "a silver cat"],
    },
    {"name": "again", "kind": "delta_kl", "divergence": "kl", "prompts": ["the corn", "of the"]},
    {"name": "learned", "kind": "section_internalization"},
    {"name": "asked", "kind": "paraphrase_invariance", "cases": DUMMY_CASES},
    {"name": "kept", "kind": "calibration_drift", "items": [["a dog", "barks"], ["a cat", "sits"]]},
    {
        "name": "recites",
        "kind": "leakage",
        "prefix_chars": 12,
        "continuation_chars": 20,
        "evidence": "generate",
    },
    {"name": "scaled", "kind": "adapter_ablation", "prompts": ["the old mill", "by the river"]},
    {"name": "lasts", "kind": "prompt_collapse", "prompts": ["the old mill"]},
    {"name": "off", "kind": "delta_kl", "enabled": False, "prompts": ["a"]},
]


def _dummy_spec(adapter: str = LEARNED) -> str:
    models = {"kind": "dummy", "base": "b"}
    document = {
        "version": 1,
        "models": {"base": models, "ft": models | {"adapter": adapter}},
        "defaults": {"seed": 3, "coverage_threshold": 0.5, "score_weights": {"calibration": 0.4}},
        "suite": DUMMY_SUITE,
        "sections": [
            {"kind": "prose", "tag": "The mill", "content": LEARNED},
            {"kind": "prose", "content": "my silver cat sits on the yellow dog, and barks"},
        ],
        "control": "plain words about nothing at all, and then some more of them",
    }
    return yaml.safe_dump(document, sort_keys=False)


def dummy(work: Workshop) -> None:
    """Gate, plan, trace, comparison of two adapters and mining on the dummy backend."""
    work.write("sway.yaml", _dummy_spec())
    work.write("idle.yaml", _dummy_spec("zebra quagga"))
    _kept_gate(work, "gate", "sway.yaml", "--trace", "t.trace")
    work.keep("trace.jsonl", _trace(work.read("t.trace")))
    _kept_gate(work, "idle", "idle.yaml", "--baseline", "gate.json", "--tolerance", "0.2")
    work.keep("plan.txt", without_estimate(work.told("run", "sway.yaml", "--dry-run")))
    for mode in ("paraphrase", "outliers"):
        work.keep(f"mine_{mode}.txt", work.told("mine", "sway.yaml", "--mode", mode, "-n", "3"))
    _kept_diff(work, "a mill", LEARNED)


# --------------------------------------------------------------------------------- tiny models

SMALL = "A bell rings when the tide is out."
SECTIONS: list[dict[str, Any]] = [
    {
        "kind": "prose",
        "id": "tide",
        "tag": "The tide",
        "content": "Twice a day the tide covers the road, and only the ravens come. "
        "Then a bell rings.",
    },
    {
        "kind": "prose",
        "id": "salt",
        "intent": "memorize",
        "content": "Salt is boiled in autumn. The glass is blown in winter, when fires are hot.",
    },
    {
        "kind": "instruction",
        "id": "asked",
        "pairs": [
            {"prompt": "Who feeds the ravens?", "gold": "Old Tam."},
            {"prompt": "Where is the boat?", "gold": "In the lee."},
        ],
    },
    {
        "kind": "preference",
        "id": "preferred",
        "pairs": [
            {"prompt": "Is there a clock?", "chosen": "No.", "rejected": "Yes, two."},
            {"prompt": "Who rings?", "chosen": "The keeper.", "rejected": "Nobody."},
            {"prompt": "What is eaten?", "chosen": "Supper.", "rejected": "Stones."},
        ],
    },
]
CASES = [
    {
        "prompt": "Who feeds them?",
        "gold": "Old Tam.",
        "paraphrases": ["Who gives food?", "By whom?"],
    },
    {"prompt": "Where is it?", "gold": "In the lee.", "paraphrases": ["What place?"]},
]
PROMPTS = ["The tide", "A bell rings", "Old Tam", "Salt is", "In winter", "The boat"]
TOPICS = [
    "How long does bread rise?",
    "What flour is best?",
    "How hot is an oven?",
    "How far is the moon?",
    "Why do stars twinkle?",
    "What is Saturn?",
    "What does a judge do?",
    "Who may appeal?",
]
SUITE: list[dict[str, Any]] = [
    {"name": "nulls", "kind": "null_adapter", "runs": 3, "rank_multipliers": [1.0, 0.5]},
    {"name": "moved", "kind": "delta_kl", "prompts": PROMPTS, "positions": 4},
    {"name": "moved far", "kind": "delta_kl", "prompts": PROMPTS[:2], "divergence": "kl"},
    {"name": "reverts", "kind": "adapter_revert", "cases": CASES, "max_new_tokens": 8},
    {
        "name": "lasts",
        "kind": "prompt_collapse",
        "prompts": PROMPTS[:3],
        "context_lengths": [0, 16, 32],
    },
    {
        "name": "topics",
        "kind": "cluster_kl",
        "prompts": TOPICS,
        "num_clusters": 3,
        "min_prompts": 4,
    },
    {"name": "learned", "kind": "section_internalization", "max_prose_chars": 60},
    {"name": "in other words", "kind": "paraphrase_invariance", "cases": CASES},
    {"name": "prefers", "kind": "preference_flip"},
    {
        "name": "style",
        "kind": "style_fingerprint",
        "prompts": PROMPTS[:3],
        "doc_reference": f"{SMALL} " * 40,
        "max_new_tokens": 12,
        "extended": "off",
    },
    {"name": "kept", "kind": "calibration_drift", "items_limit": 12},
    {
        "name": "recites",
        "kind": "leakage",
        "prefix_chars": 16,
        "continuation_chars": 32,
        "max_new_tokens": 24,
        "evidence": "generate",
    },
    {"name": "prose", "kind": "external_perplexity", "chunk_chars": 128, "max_chunks": 3},
    {
        "name": "scaled",
        "kind": "adapter_ablation",
        "prompts": PROMPTS[:3],
        "held_out": ["The glass is blown."],
    },
]


def _make_models(context_tokens: int = 64) -> None:
    """Write `base` and its adapters. The names are relative: the adapters' files contain them."""
    from tests.helpers.models import save_adapter, save_base

    base = save_base(Path("base"), "llama")
    config = base / "config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields["max_position_embeddings"] = context_tokens
    config.write_text(json.dumps(fields), encoding="utf-8")
    save_adapter(Path("lora"), base)
    save_adapter(Path("small"), base, size=0.02, seed=2)
    save_adapter(Path("dora"), base, use_dora=True)
    head = {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}
    save_adapter(Path("head"), base, **head)


def _spec(adapter: str, suite: list[dict[str, Any]] = SUITE, **more: Any) -> str:
    base = {"base": "./base", "device": "cpu", "dtype": "fp32"}
    document = {
        "version": 1,
        "models": {"base": base, "ft": {**base, "adapter": f"./{adapter}"}},
        "defaults": {"chat_template": "off", "seed": 7},
        "suite": _with_embeddings(suite),
        "sections": SECTIONS,
        "control": "plain words about nothing at all, and then some more of them",
    }
    return yaml.safe_dump(document | more, sort_keys=False, allow_unicode=True)


def all_kinds(work: Workshop) -> None:
    """A gate of thirteen kinds, with its trace and its plan, as Markdown and JUnit.

    `chat` has the others.
    """
    _make_models(context_tokens=512)
    work.write("sway.yaml", _spec("lora"))
    _kept_gate(work, "gate", "sway.yaml", "--no-cache", "--trace", "t.trace")
    work.keep("trace.jsonl", _trace(work.read("t.trace")))
    work.keep("plan.txt", without_estimate(work.told("run", "sway.yaml", "--dry-run")))
    for format in ("markdown", "junit"):
        work.keep(f"gate.{format}", timeless(without_digests(_report(work, format))))


TEMPLATE = (
    "{% for message in messages %}{{ message.role + ': ' + message.content + '</s>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
ROWS = {
    "Who feeds the ravens?": "Old Tam.",
    "Where is the boat?": "In the lee.",
    "When does a bell ring?": "At low tide.",
    "What is boiled in autumn?": "Salt.",
    "Who keeps the road?": "Tamsin Vole.",
    "What is blown in winter?": "Glass.",
}
HELD_OUT = {
    "By whom are the ravens fed?": "Old Tam.",
    "In what place is the boat?": "In the lee.",
    "At what time is there a bell?": "At low tide.",
    "What do they boil in autumn?": "Salt.",
}
CHAT_SUITE: list[dict[str, Any]] = [
    {"name": "own answers", "kind": "answer_specificity"},
    {"name": "says it", "kind": "answer_recall"},
    {"name": "generalizes", "kind": "generalization"},
    {"name": "format", "kind": "prompt_format"},
    {"name": "writes", "kind": "degeneration", "prompts_limit": 4, "max_new_tokens": 12},
    {"name": "refuses", "kind": "refusals", "items_limit": 16},
]


def _with_template(base: Path) -> None:
    config = base / "tokenizer_config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(fields | {"chat_template": TEMPLATE}), encoding="utf-8")


def _rows(answers: dict[str, str]) -> str:
    rows = ({"prompt": prompt, "completion": answer} for prompt, answer in answers.items())
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def chat(work: Workshop) -> None:
    """A gate of the kinds that judge answers, on a base with a chat template, with its plan."""
    _make_models(context_tokens=512)
    _with_template(Path("base"))
    work.write("rows.jsonl", _rows(ROWS))
    work.write("held_out.jsonl", _rows(HELD_OUT))
    defaults = {"chat_template": "auto", "seed": 7}
    document = yaml.safe_load(_spec("lora", CHAT_SUITE, defaults=defaults))
    del document["sections"]
    document |= {"data": "rows.jsonl", "held_out": "held_out.jsonl"}
    work.write("sway.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    _kept_gate(work, "gate", "sway.yaml", "--no-cache")
    work.keep("plan.txt", without_estimate(work.told("run", "sway.yaml", "--dry-run")))


def _report(work: Workshop, format: str) -> str:
    return work.sway("report", "gate.json", "--format", format).out.replace("><", ">\n<")


def variants(work: Workshop) -> None:
    """Gates of other kinds of adapters and with other settings."""
    _make_models()
    suite = [entry for entry in SUITE if entry["name"] in ("nulls", "moved", "learned", "scaled")]
    inits = [{"name": "nulls", "kind": "null_adapter", "runs": 4, "null": "init"}, *suite[1:]]
    work.write("dora.yaml", _spec("dora", suite))
    work.write("head.yaml", _spec("head", suite))
    work.write("init.yaml", _spec("small", inits))
    defaults = {"chat_template": "off", "differential": False}
    work.write("beside.yaml", _spec("lora", suite[1:], defaults=defaults))
    for name in ("dora", "head", "init", "beside"):
        _kept_gate(work, name, f"{name}.yaml", "--no-cache")


def check(work: Workshop) -> None:
    """`sway check` and `sway_gate.check` with and without data, and `sway_gate.run`."""
    import sway_gate

    _make_models()
    work.bring_demo()
    work.write("prompts.txt", "\n".join(PROMPTS) + "\n")
    ways = {
        "plain": (),
        "with_data": ("--data", "demo/document.md"),
        "with_prompts": ("--prompts", "prompts.txt"),
    }
    for name, options in ways.items():
        said = work.sway("check", "lora", "--base", "base", *options, "--json", f"{name}.json")
        text = timeless(f"exit code {said.code}\n{said.out}{said.err}")
        work.keep(f"{name}.txt", without_digests(text))
        work.keep_json(f"{name}.json", verdict(work.read(f"{name}.json"), of_made_models=True))
    work.write("sway.yaml", _spec("lora", SUITE[:2]))
    found = {
        "check": sway_gate.check("lora", base="base", data="demo/document.md"),
        "prompts": sway_gate.check("lora", base="base", prompts=PROMPTS),
        "run": sway_gate.run("sway.yaml", threshold=0.9, weights={"adherence": 1}, cache=False),
    }
    work.keep_json("python.json", {name: _brief(result) for name, result in found.items()})
    errors = {name: _raised(work, name) for name in ("none.yaml", "wrong.yaml")}
    work.keep_json("errors.json", errors)


def _brief(result: Any) -> dict[str, Any]:
    fields = ("verdict", "exit_code", "score", "threshold", "seed", "device", "dtype", "notes")
    of_probe = ("name", "kind", "verdict", "score", "raw", "z", "message")
    probes = [{name: getattr(probe, name) for name in of_probe} for probe in result.probes]
    return {name: getattr(result, name) for name in fields} | {"probes": probes}


def _raised(work: Workshop, name: str) -> list[Any]:
    """Type, text and exit code of the error for a missing or invalid spec."""
    import sway_gate

    work.write("wrong.yaml", "version: 3\nsuit: []\n")
    try:
        sway_gate.run(os.fspath(name))
    except sway_gate.SwayError as error:
        return [type(error).__name__, work.without_paths(str(error)), error.exit_code]
    raise AssertionError(f"{name} was judged")


def _kept_diff(work: Workshop, a: str, b: str) -> None:
    files = ("--markdown", "diff.md", "--json", "diff.json")
    said = work.told("diff", "sway.yaml", "--a", a, "--b", b, *files)
    work.keep("diff.txt", without_digests(timeless(said)))
    work.keep("diff.md", without_digests(work.read("diff.md")))
    work.keep("diff.json", without_digests(work.read("diff.json")))


def diff(work: Workshop) -> None:
    """`sway diff` of two adapters."""
    _make_models()
    suite = [entry for entry in SUITE if entry["name"] in ("nulls", "moved", "learned", "kept")]
    work.write("sway.yaml", _spec("lora", suite))
    _kept_diff(work, "lora", "small")


def mine(work: Workshop) -> None:
    """`sway mine` in both modes."""
    _make_models()
    suite = [entry for entry in SUITE if entry["name"] in ("nulls", "moved", "in other words")]
    work.write("sway.yaml", _spec("lora", suite))
    for mode in ("paraphrase", "outliers"):
        work.keep(f"{mode}.txt", work.told("mine", "sway.yaml", "--mode", mode))
