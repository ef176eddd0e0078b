"""Measure the gate on one GPU and print benchmarks/results/gpu.md. Takes less than eight minutes.

    python -m pip download --only-binary=:all: --no-deps -d wheels -r benchmarks/gpu_wheels.txt
    python -m benchmarks.gpu --wheels wheels > benchmarks/results/gpu.md
    python -m benchmarks.gpu --device cpu --shapes tiny    # try the script without a GPU

The first command needs a package index, and Python's version and platform must be the GPU
machine's (pip download has options for others); for nf4 add bitsandbytes. The second needs only
torch on that machine, and makes its models itself: random weights of real shapes, and random
adapters of rank 16. `--real` takes the folder of a real base with `--adapter` for the comparison
with the CPU.

Each part is a separate process. A part that fails, or that has no time left, is a line in the
output, and the exit code is 1.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "examples" / "real" / "train.jsonl"
ON_DISK = ("tiny", "135M", "1B", "8B")
"""Shapes whose weights are written to a disk, for the commands that read them from there."""
_VIEWS, _TEXTS, _WORDS, _ANSWER = 16, 4, 200, " ".join(["the answer follows"] * 8)


class Place:
    """Where a part works, and on what."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.work, self.device, self.shape = Path(args.work), args.device, args.shape
        self.real, self.adapter = args.real, args.adapter

    def base(self, shape: str) -> Path:
        return self.work / shape / "base"

    def source(self, shape: str) -> Any:
        from sway_gate.backends.loading import Source

        return Source(self.base(shape), self.work / shape / "adapter", "bf16", self.device)


# ------------------------------------------------------------------------------------------ models


def make(place: Place, shape: str, *, weights: bool) -> Any:
    """The random model, with its config, tokenizer and adapter written to disk; `weights` too."""
    import torch

    from benchmarks import random_models

    network = random_models.network(shape, place.device, torch.bfloat16)
    folder = place.base(shape)
    if not (folder / "config.json").is_file():
        network.config.save_pretrained(folder)
        random_models.tokenizer().save_pretrained(folder)
        random_models.save_adapter(place.work / shape / "adapter", network)
    if weights and not any(folder.glob("*.safetensors")):
        network.save_pretrained(folder)
    return network


def texts() -> list[str]:
    from sway_gate.training_data import packaged

    words = " ".join(packaged.prose()).split()
    return [" ".join(words[i * _WORDS : (i + 1) * _WORDS]) for i in range(_TEXTS)]


def plan() -> list[Any]:
    """Log-probabilities of 4 texts under 16 views: 64 rows."""
    from sway_gate.measurements import FINETUNED, LogProbs, View, with_base

    views = [FINETUNED, *(View("null", i) for i in range(_VIEWS - 2))]
    return list(with_base((v, LogProbs(text, f" {_ANSWER}")) for v in views for text in texts()))


def written() -> list[Any]:
    """64 texts of 64 tokens: 16 views of 4 prompts."""
    from sway_gate.measurements import FINETUNED, Generation, View, with_base

    views = [FINETUNED, *(View("null", i) for i in range(_VIEWS - 2))]
    return list(with_base((v, Generation(text, 64)) for v in views for text in texts()))


# ------------------------------------------------------------------------------------------- clock


def seconds(device: str, call: Callable[[], Any]) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak(device: str) -> float:
    """Peak memory in GB: of the card, or of this process."""
    import resource

    import torch

    if device == "cuda":
        return float(torch.cuda.max_memory_reserved()) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


# ------------------------------------------------------------------------------------------- parts


def machine(place: Place) -> dict[str, Any]:
    """The card's name and its rate for bf16 matrix products."""
    import torch

    size = 8192 if place.device == "cuda" else 512
    x = torch.randn(size, size, dtype=torch.bfloat16, device=place.device)
    best = min(seconds(place.device, lambda: x @ x) for _ in range(20))
    is_gpu = place.device == "cuda"
    return {
        "card": torch.cuda.get_device_name() if is_gpu else f"CPU, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "tflops": 2 * size**3 / best / 1e12,
    }


def passes(place: Place) -> dict[str, Any]:
    """64 rows and 64 generated texts: rate, memory, and the digest of all answers."""
    from sway_gate.backends import hf, loading
    from sway_gate.backends.null_adapters import NullSettings
    from sway_gate.engine.run import run_plan
    from sway_gate.output import silent

    network = make(place, place.shape, weights=False)
    loading.seed_everything(0, loading.torch.device(place.device))
    tokenizer = loading.AutoTokenizer.from_pretrained(place.base(place.shape))
    determinism = loading.seed_everything(0, loading.torch.device(place.device))
    opened = (network, tokenizer, determinism)
    backend = hf.load(place.source(place.shape), NullSettings(runs=_VIEWS - 2), opened)

    def measure(requests: list[Any]) -> Any:
        return run_plan(requests, lambda: backend, None, silent).answers

    first = measure(plan())  # also the warm-up
    runs = [seconds(place.device, lambda: measure(plan())) for _ in range(3)]
    again = measure(plan())
    tokens, flops = work(backend, network)
    generation = seconds(place.device, lambda: measure(written()))
    return {
        "seconds": min(runs),
        "tokens": tokens,
        "tflops": flops / min(runs) / 1e12,
        "generation": generation,
        "digest": digest(first),
        "same": digest(first) == digest(again),
        "determinism": determinism,
        "peak": peak(place.device),
        "weights": sum(p.numel() * p.element_size() for p in network.parameters()) / 1e9,
    }


def work(backend: Any, network: Any) -> tuple[int, float]:
    """Tokens and floating-point operations of `plan()`: matrix products of weights and head."""
    requests = list(dict.fromkeys(m.request for m in plan()))
    rows = [row for row, _ in backend.encode(requests)]
    tokens = _VIEWS * sum(len(row.ids) for row in rows)
    positions = _VIEWS * sum(len(row.positions) for row in rows)
    body = sum(p.numel() for n, p in network.named_parameters() if p.dim() == 2 and "layers" in n)
    head = network.lm_head.weight.numel()
    return tokens, 2.0 * (tokens * body + positions * head)


def digest(answers: Any) -> str:
    """sha256 of the numbers of `plan()`, bit for bit."""
    found = hashlib.sha256()
    for measurement in plan():
        if not measurement.is_reference:
            found.update(answers.get(measurement.view, measurement.request).tobytes())
    return found.hexdigest()


def toggled(place: Place) -> dict[str, Any]:
    """The same rows with peft: 16 adapters of the same shape, one set at a time."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    network = make(place, place.shape, weights=False)
    folder = place.work / place.shape / "adapter"
    model = PeftModel.from_pretrained(network, str(folder), adapter_name="0")
    for i in range(1, _VIEWS - 1):
        model.load_adapter(str(folder), adapter_name=str(i))
    tokenizer = AutoTokenizer.from_pretrained(place.base(place.shape))
    ids = [tokenizer(f"{text} {_ANSWER}")["input_ids"] for text in texts()]
    width = max(map(len, ids))
    batch = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=place.device)
    keep = len(tokenizer(f" {_ANSWER}")["input_ids"]) + 1

    def measure() -> None:
        with torch.inference_mode():
            for i in range(_VIEWS - 1):
                model.set_adapter(str(i))
                model(batch, logits_to_keep=keep).logits.float().log_softmax(-1)
            with model.disable_adapter():
                model(batch, logits_to_keep=keep).logits.float().log_softmax(-1)

    measure()
    return {"seconds": min(seconds(place.device, measure) for _ in range(3))}


def commands(place: Place) -> dict[str, Any]:
    """`sway check`, then the suite that `sway init` writes: seconds, verdict and peak memory."""
    import sway_gate

    make(place, place.shape, weights=True)
    release(place.device)
    base, adapter = place.base(place.shape), place.work / place.shape / "adapter"
    found: dict[str, Any] = {}
    started = time.perf_counter()
    checked = sway_gate.check(adapter, base=base, cache=False)
    found["check"] = time.perf_counter() - started
    spec = write_spec(place, base, adapter, place.device)
    started = time.perf_counter()
    gated = sway_gate.run(spec, cache=False)
    found["gate"] = time.perf_counter() - started
    return found | {
        "verdicts": f"{checked.verdict}, {gated.verdict}",
        "device": gated.device,
        "dtype": gated.dtype,
        "peak": peak(place.device),
    }


def release(device: str) -> None:
    """Give the memory of a dropped model back, and count its peak from here."""
    import gc

    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def write_spec(place: Place, base: Path, adapter: Path, device: str, **fields: str) -> Path:
    """The suite of `sway init` for the rows of the real example, on a device."""
    path = place.work / f"{place.shape or 'compared'}-{device}.sway.yaml"
    path.unlink(missing_ok=True)
    init = [sys.executable, "-m", "sway_gate", "init", str(adapter), "--base", str(base)]
    init += ["--data", str(ROWS), "-o", str(path)]
    code = subprocess.run(init, stdout=subprocess.DEVNULL).returncode
    if code:
        raise RuntimeError(f"sway init ended with {code}")
    return with_fields(path, device=device, **fields)


def with_fields(path: Path, **fields: str) -> Path:
    """The spec with fields of models.base, as JSON, which is YAML."""
    import yaml

    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    for model in spec["models"].values():
        model.update(fields)
    path.write_text(json.dumps(spec), encoding="utf-8")
    return path


def compared(place: Place) -> dict[str, Any]:
    """Verdicts and z on the card and on the CPU: the real base if it is given, or a random one."""
    import sway_gate

    base, adapter = place.real, place.adapter
    if not base:
        shape = "tiny" if place.device == "cpu" else "135M"
        make(place, shape, weights=True)
        base, adapter = place.base(shape), place.work / shape / "adapter"
    results = [
        sway_gate.run(write_spec(place, Path(base), Path(adapter), device), cache=False)
        for device in (place.device, "cpu")
    ]
    pairs = list(zip(*(result.probes for result in results), strict=True))
    both = [(a.z, b.z) for a, b in pairs if a.z is not None and b.z is not None]
    return {
        "verdicts": ", ".join(result.verdict for result in results),
        "probes": len(pairs),
        "flips": sum(a.verdict is not b.verdict for a, b in pairs),
        "z": max((abs(x - y) / max(1.0, abs(y)) for x, y in both), default=0.0),
        "seconds": [round(result.timing["total"], 1) for result in results],
    }


def nf4(place: Place) -> dict[str, Any]:
    """`sway check` on a base that is quantized when it is loaded."""
    import sway_gate

    make(place, place.shape, weights=True)
    release(place.device)
    started = time.perf_counter()
    base, adapter = place.base(place.shape), place.work / place.shape / "adapter"
    checked = sway_gate.check(adapter, base=base, quantization="nf4", cache=False)
    return {
        "check": time.perf_counter() - started,
        "verdicts": checked.verdict,
        "peak": peak(place.device),
    }


PARTS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "machine": machine,
    "passes": passes,
    "repeated": passes,
    "toggled": toggled,
    "commands": commands,
    "compared": compared,
    "nf4": nf4,
}


def order(shapes: list[str]) -> Iterator[tuple[str, str]]:
    """Parts and shapes, the most important ones first."""
    yield "machine", ""
    for shape in shapes:
        yield "passes", shape
    small = [shape for shape in shapes if shape in ON_DISK]
    yield "compared", ""
    for shape in small:
        yield "commands", shape
    for shape in shapes:
        yield "repeated", shape
    for shape in small:
        yield "toggled", shape
    if small:
        yield "nf4", small[-1]


# ------------------------------------------------------------------------------------------ report


def report(found: dict[tuple[str, str], dict[str, Any]]) -> Iterator[str]:
    yield "# On a GPU\n"
    of = found.get(("machine", ""), {})
    if "tflops" not in of:
        return
    rate = of["tflops"]
    yield (
        f"From `python -m benchmarks.gpu`, on {of['card']}, torch {of['torch']}. bf16 matrix "
        f"products: {rate:.1f} TFLOP/s. Weights and adapters (rank 16, all linear layers) are "
        "random. peft toggles one adapter at a time over the same rows.\n"
    )
    yield (
        "| shape | 64 rows | tokens/s | of the matrix rate | 64 texts of 64 tokens | "
        "peak / weights | twice, bit for bit | peft |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    for (part, shape), one in found.items():
        if part == "passes" and "seconds" in one:
            yield row(shape, one, found, rate)
    yield "\n| shape | `sway check` | init suite | verdicts | peak |"
    yield "| --- | ---: | ---: | --- | ---: |"
    for (part, shape), one in found.items():
        if "check" in one:
            name = f"{shape}, {part}" if part == "nf4" else shape
            gate = f"{one['gate']:.1f} s" if "gate" in one else "–"
            cells = f"{one['check']:.1f} s | {gate} | {one['verdicts']} | {one['peak']:.1f} GB"
            yield f"| {name} | {cells} |"
    if "z" in (both := found.get(("compared", ""), {})):
        yield (
            f"\nOn the card and on the CPU: verdicts {both['verdicts']}; {both['flips']} of "
            f"{both['probes']} probes differ; z differs by at most {both['z']:.1%}; "
            f"{both['seconds'][0]} s and {both['seconds'][1]} s."
        )
    for (part, shape), one in found.items():
        if "error" in one:
            yield f"\nNot measured: {part} {shape}: {one['error']}"


def row(
    shape: str, one: dict[str, Any], found: dict[tuple[str, str], dict[str, Any]], rate: float
) -> str:
    other = found.get(("repeated", shape), {}).get("digest")
    same = one["same"] and other == one["digest"]
    bits = f"{'yes' if same else 'no' if other else 'not run'} ({one['determinism']})"
    theirs = found.get(("toggled", shape), {}).get("seconds")
    peft = f"{theirs:.2f} s ({one['seconds'] / theirs:.2f})" if theirs else "–"
    return (
        f"| {shape} | {one['seconds']:.2f} s | {one['tokens'] / one['seconds']:,.0f} | "
        f"{one['tflops'] / rate:.2f} | {one['generation']:.1f} s | "
        f"{one['peak']:.1f} / {one['weights']:.1f} GB | {bits} | {peft} |"
    )


def run_part(part: str, shape: str, args: argparse.Namespace, left: float) -> dict[str, Any]:
    if left < 5:
        return {"error": "no time was left"}
    command = [sys.executable, "-m", "benchmarks.gpu", "--part", part, "--shape", shape]
    command += ["--device", args.device, "--work", args.work]
    command += ["--real", args.real, "--adapter", args.adapter]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
    except subprocess.TimeoutExpired:
        return {"error": "ran out of time"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def install(wheels: str, into: Path) -> None:
    """Install the wheels for the parts, next to the machine's torch."""
    files = [str(path) for path in sorted(Path(wheels).glob("*.whl"))]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(into), *files], check=True, stdout=sys.stderr)
    paths = [str(ROOT), str(into), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", default="", help="folder of wheels to install first")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shapes", default="1B,8B,32B", help="of tiny, 135M, 1B, 8B, 32B")
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--real", default="", help="folder of a real base to compare with the CPU")
    parser.add_argument("--adapter", default="", help="folder of its adapter")
    parser.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "sway-gate-gpu"))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--shape", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](Place(args))))
        return 0
    end = time.monotonic() + 60 * args.minutes
    os.environ |= {"SWAY_CACHE_DIR": os.path.join(args.work, "cache"), "HF_HUB_OFFLINE": "1"}
    if args.wheels:
        install(args.wheels, Path(args.work) / "site")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for part, shape in order(args.shapes.split(",")):
        started = time.monotonic()
        found[part, shape] = run_part(part, shape, args, end - started)
        took = time.monotonic() - started
        print(f"{part} {shape}: {took:.0f} s {found[part, shape]}", file=sys.stderr, flush=True)
    print("\n".join(report(found)))
    return int(any("error" in one for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
