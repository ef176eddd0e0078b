"""Measure the arithmetic rate of stacked views, and batched generation against one row at a time.

    python -m benchmarks.rates MODEL

MODEL is the folder of `benchmarks.speed_inputs.make_model`. Prints rows of a Markdown table.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed_inputs import PROMPTS
from sway_gate.backends import hf, null_adapters
from sway_gate.backends.loading import Source
from sway_gate.engine.run import run_plan
from sway_gate.measurements import BASE, FINETUNED, Divergence, Generation, View, with_base
from sway_gate.output import silent


def arithmetic_rate(folder: Path) -> str:
    """Table row: rate of batched views, compared with this machine's fp32 matrix product.

    The forward passes have 64 rows: 16 views of 4 texts. The matrix product has the model's sizes.
    """
    x, w = torch.randn(1024, 576), torch.randn(1536, 576)
    gemm = max(
        2 * 1024 * 576 * 1536 / _seconds(lambda: torch.nn.functional.linear(x, w))
        for _ in range(40)
    )
    backend = hf.load(_source(folder), null_adapters.NullSettings(runs=14))
    # With the base these are 16 views.
    views = [FINETUNED, *(View("null", i) for i in range(14))]
    requests = [Divergence(" ".join(PROMPTS[4 * i : 4 * i + 4])) for i in range(4)]
    rows = [row for row, _ in backend.encode(requests)]
    tokens = 16 * len(rows) * max(len(row.ids) for row in rows)
    network = backend.weights.model(BASE).network
    weights = sum(
        p.numel() for n, p in network.named_parameters() if p.dim() == 2 and "embed" not in n
    )
    head = 16 * len(rows) * 49152 * 576
    plan = with_base((v, r) for v in views for r in requests)
    seconds = min(_seconds(lambda: run_plan(plan, lambda: backend, None, silent)) for _ in range(5))
    rate = 2 * (tokens * weights + head) / seconds
    what = f"batched views in fp32, 64 rows of {tokens // 64} tokens"
    ours, other = f"{rate / 1e9:.0f} GFLOP/s", f"GEMM {gemm / 1e9:.0f} GFLOP/s"
    return f"| {what} | {ours} | {other} | {rate / gemm:.2f} | ≥ .60 |"


def generation_rate(folder: Path) -> str:
    """Table row: time to generate 64 tokens in one batch, compared with one row at a time.

    8 prompts under 6 views: base, adapter and 4 nulls.
    """
    backend = hf.load(_source(folder), null_adapters.NullSettings(runs=4))
    views = [FINETUNED, *(View("null", i) for i in range(4))]
    plan = with_base((v, Generation(p, 64)) for v in views for p in PROMPTS[:8])
    together = _seconds(lambda: run_plan(plan, lambda: backend, None, silent))
    rows = [row for row, _ in backend.encode([Generation(p, 64) for p in PROMPTS[:8]])]

    def one_by_one() -> None:
        for view in (BASE, *views):
            for row in rows:
                backend.forward([view], [row])

    alone = _seconds(one_by_one)
    what = "48 generations of 64 tokens in fp32, batched"
    return (
        f"| {what} | {together:.1f} s | one by one {alone:.1f} s | {together / alone:.2f} | ≤ .20 |"
    )


def _source(folder: Path) -> Source:
    return Source(folder / "base", folder / "adapter", dtype="fp32", device="cpu")


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    folder = parser.parse_args().model
    for rate in (arithmetic_rate, generation_rate):
        print(rate(folder), flush=True)


if __name__ == "__main__":
    main()
