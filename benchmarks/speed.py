"""Measure wall time, memory and arithmetic rate; compare with dlm-sway 0.1.0 if it is installed.

    python benchmarks/speed.py [--theirs PATH_TO_PYTHON] [--repeats N]

Prints Markdown. All numbers of a table are from one run on one machine. The commands alternate
(ours, theirs, ours, …), and each starts with empty caches.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

WORK = Path(tempfile.gettempdir()) / "sway-gate-bench"
PROMPTS = [
    "The most important rule of the house is", "In the morning the ferry leaves from",
    "A good answer begins with", "The engineer looked at the drawing and",
    "Nobody in the village had ever", "The contract says that", "When the water boils, add",
    "The second half of the year was", "He opened the letter and read",
    "The library keeps its oldest maps in", "To repair the clock you need",
    "The council decided on Tuesday that", "Light travels faster than",
    "My grandmother always told us", "The price of grain rose because",
    "At the edge of the forest stood", "The recipe calls for two cups of",
    "Every student must hand in", "The ship was loaded with", "If the alarm rings at night",
    "The first settlers came from", "A triangle with equal sides is",
    "The judge asked the witness whether", "Snow fell for three days and",
    "The train to the north stops at", "She wrote in her diary that", "The machine is cleaned by",
    "After the war the town was", "The lecture begins with a question about",
    "Children under ten may not", "The garden behind the school has",
    "The report ends with a list of",
]  # fmt: skip


class Cost(NamedTuple):
    seconds: float
    peak_mib: float


def make_model() -> Path:
    """Folder with a random model of SmolLM2-135M's shape, a rank-8 LoRA adapter and a tokenizer.

    The adapter covers all linear layers; the tokenizer is trained on the packaged prose.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from sway_gate.training_data import packaged

    folder = WORK / "model-v1"
    if (folder / "done").exists():
        return folder
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True,
        max_position_embeddings=2048, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=8000,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*packaged.prose(), packaged.stuffing()], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|end|>", eos_token="<|end|>"
    )
    fast.save_pretrained(folder / "base")
    wrapped = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    wrapped.save_pretrained(folder / "adapter")
    (folder / "done").touch()
    return folder


def write_suite(folder: Path, name: str, suite: list[dict[str, Any]]) -> str:
    models = {
        "base": {"base": str(folder / "base")},
        "ft": {"base": str(folder / "base"), "adapter": str(folder / "adapter")},
    }
    path = WORK / f"{name}.yaml"
    path.write_text(json.dumps({"version": 1, "models": models, "suite": suite}), encoding="utf-8")
    return str(path)


def suite(runs: int) -> list[dict[str, Any]]:
    return [
        {"name": "nulls", "kind": "null_adapter", "runs": runs},
        {"name": "moved", "kind": "delta_kl", "prompts": PROMPTS},
        {"name": "curve", "kind": "adapter_ablation", "prompts": PROMPTS[:8]},
    ]


def whole_suite() -> list[dict[str, Any]]:
    """All kinds that need no training text and no extra, with fields that dlm-sway also has."""
    cases = [
        {"prompt": p, "gold": " the old house", "paraphrases": [f"Well, {p}", f"{p} now"]}
        for p in PROMPTS[:8]
    ]
    triples = [
        {"prompt": p, "chosen": " a quiet place", "rejected": " a loud one"} for p in PROMPTS[8:16]
    ]
    return [
        *suite(3),
        {"name": "prose", "kind": "external_perplexity", "max_chunks": 4, "chunk_chars": 1024},
        {"name": "knowledge", "kind": "calibration_drift", "items_limit": 50},
        {"name": "paraphrases", "kind": "paraphrase_invariance", "cases": cases},
        {"name": "preferences", "kind": "preference_flip", "triples": triples},
        {"name": "context", "kind": "prompt_collapse", "prompts": PROMPTS[:4]},
    ]


def cost(command: list[str], *, keep_cache: bool = False) -> Cost:
    """Wall time and peak memory of one process; its caches are emptied first by default."""
    home = WORK / "home"
    if not keep_cache:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    env = os.environ | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "HF_HUB_OFFLINE": "1",
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    _, _, usage = os.wait4(process.pid, 0)
    return Cost(time.perf_counter() - started, usage.ru_maxrss / 1024)


def compare(
    ours: list[str], theirs: list[str] | None, repeats: int
) -> tuple[list[Cost], list[Cost]]:
    mine, other = [], []
    for _ in range(repeats):
        mine.append(cost(ours))
        if theirs:
            other.append(cost(theirs))
    return mine, other


def line(what: str, mine: list[Cost], other: list[Cost], limit: str) -> str:
    seconds = statistics.median(c.seconds for c in mine)
    peak = statistics.median(c.peak_mib for c in mine)
    if not other:
        return f"| {what} | {seconds:.2f} s, {peak:.0f} MiB | – | – | {limit} |"
    s, p = statistics.median(c.seconds for c in other), statistics.median(c.peak_mib for c in other)
    ratio = f"{seconds / s:.2f} × wall, {peak / p:.2f} × peak"
    return (
        f"| {what} | {seconds:.2f} s, {peak:.0f} MiB | {s:.2f} s, {p:.0f} MiB | {ratio} | {limit} |"
    )


def arithmetic_rate(folder: Path) -> str:
    """Table row: rate of batched views, compared with this machine's fp32 matrix product.

    The forward passes have 64 rows: 16 views of 4 texts. The matrix product has the model's sizes.
    """
    import torch

    from sway_gate.backends import hf, null_adapters
    from sway_gate.backends.loading import Source
    from sway_gate.engine.run import run_plan
    from sway_gate.measurements import FINETUNED, Divergence, View
    from sway_gate.output import silent

    x, w = torch.randn(1024, 576), torch.randn(1536, 576)
    gemm = max(
        2 * 1024 * 576 * 1536 / _seconds(lambda: torch.nn.functional.linear(x, w))
        for _ in range(40)
    )
    backend = hf.load(
        Source(folder / "base", folder / "adapter", device="cpu"),
        null_adapters.NullSettings(runs=14),
    )
    # With the base these are 16 views.
    views = [FINETUNED, *(View("null", i) for i in range(14))]
    requests = [Divergence(" ".join(PROMPTS[4 * i : 4 * i + 4])) for i in range(4)]
    rows = [row for row, _ in backend.encode(requests)]
    tokens = 16 * len(rows) * max(len(row.ids) for row in rows)
    weights = sum(
        p.numel() for n, p in backend._model.named_parameters() if p.dim() == 2 and "embed" not in n
    )
    head = 16 * len(rows) * 49152 * 576
    plan = [(v, r) for v in views for r in requests]
    seconds = min(_seconds(lambda: run_plan(plan, lambda: backend, None, silent)) for _ in range(5))
    rate = 2 * (tokens * weights + head) / seconds
    what = f"batched views, 64 rows of {tokens // 64} tokens"
    ours, theirs = f"{rate / 1e9:.0f} GFLOP/s", f"GEMM {gemm / 1e9:.0f} GFLOP/s"
    return f"| {what} | {ours} | {theirs} | {rate / gemm:.2f} | ≥ .60 |"


def generation_rate(folder: Path) -> str:
    """Table row: time to generate 64 tokens in one batch, compared with one row at a time.

    8 prompts under 6 views: base, adapter and 4 nulls.
    """
    from sway_gate.backends import hf, null_adapters
    from sway_gate.backends.loading import Source
    from sway_gate.engine.run import run_plan
    from sway_gate.measurements import BASE, FINETUNED, Generation, View
    from sway_gate.output import silent

    backend = hf.load(
        Source(folder / "base", folder / "adapter", device="cpu"),
        null_adapters.NullSettings(runs=4),
    )
    plan = [
        (v, Generation(p, 64))
        for v in (FINETUNED, *(View("null", i) for i in range(4)))
        for p in PROMPTS[:8]
    ]
    together = _seconds(lambda: run_plan(plan, lambda: backend, None, silent))
    views = [view for view, _ in plan[::8]]
    rows = [row for row, _ in backend.encode([request for _, request in plan[:8]])]

    def one_by_one() -> None:
        for view in (BASE, *views):
            for row in rows:
                backend.measure([view], [row], {})

    alone = _seconds(one_by_one)
    what = "48 generations of 64 tokens, batched"
    return (
        f"| {what} | {together:.1f} s | one by one {alone:.1f} s | {together / alone:.2f} | ≤ .20 |"
    )


def run_part(name: str, folder: Path) -> object:
    """The folder of the model, or the table row of a rate."""
    if name == "model":
        return make_model()
    return arithmetic_rate(folder) if name == "rate" else generation_rate(folder)


def _seconds(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--theirs", help="python of a venv with dlm-sway[hf]==0.1.0")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=["model", "rate", "generation"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    folder = WORK / "model-v1"
    if args.part:
        print(run_part(args.part, folder))
        return
    # Each part runs in a separate process: a child's peak memory starts at its parent's.
    part = [sys.executable, __file__, "--part"]
    subprocess.run([*part, "model"], check=True, stdout=subprocess.DEVNULL)
    ours = [sys.executable, "-m", "sway_gate"]
    theirs = [str(Path(args.theirs).with_name("sway"))] if args.theirs else None

    def against(*arguments: str) -> list[str] | None:
        return [*theirs, *arguments] if theirs else None

    check = ("check", str(folder / "adapter"), "--base", str(folder / "base"))
    three, eight, sixteen = (write_suite(folder, f"suite-{n}", suite(n)) for n in (3, 8, 16))
    broken = WORK / "broken.yaml"
    broken.write_text("version: 1\nsuite: []\n", encoding="utf-8")
    print(f"# Speed\n\nFrom `benchmarks/speed.py`, median of {args.repeats}, on {_machine()}.\n")
    print(
        "| what | sway-gate | compared with | ratio | target |\n| --- | ---: | ---: | ---: | ---: |"
    )
    print(
        line(
            "`sway check` (ours: 8 nulls, theirs: 3)",
            *compare([*ours, *check], against(*check), args.repeats),
            "≤ .60, peak ≤ 1.5",
        ),
        flush=True,
    )
    gate = compare([*ours, "run", three], against("run", three), args.repeats)
    print(
        line("delta_kl × 32, adapter_ablation × 8, 3 nulls", *gate, "≤ .40, peak ≤ 1.5"), flush=True
    )
    whole = write_suite(folder, "whole", whole_suite())
    both = compare([*ours, "run", whole], against("run", whole), args.repeats)
    print(line("8 kinds, 3 nulls (theirs calibrates three kinds)", *both, "≤ .40"), flush=True)
    small, _ = compare([*ours, "run", eight], None, args.repeats)
    large, _ = compare([*ours, "run", sixteen], None, args.repeats)
    print(line("16 nulls compared with 8 (both ours)", large, small, "≤ 1.8"), flush=True)
    for name in ("rate", "generation"):
        done = subprocess.run([*part, name], check=True, capture_output=True, text=True)
        print(done.stdout, end="", flush=True)
    cost([*ours, "run", three])
    quick = (
        ("cached `sway gate`", [*ours, "gate", three], "≤ 0.2 s"),
        ("`sway --version`", [*ours, "--version"], "≤ 0.1 s"),
        ("spec error", [*ours, "gate", str(broken)], "≤ 0.25 s"),
    )
    for what, command, limit in quick:
        costs = [cost(command, keep_cache=True) for _ in range(2 * args.repeats + 1)]
        print(line(what, costs, [], limit), flush=True)


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    cpu = next(
        (x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine()
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
