"""Estimates the time on this machine's CPU and the memory of a run from the model's shapes.

Each token of each view takes 2 operations per weight of the base and the adapter, and the
operations of attention. Each scored position also takes operations per entry of the vocabulary.
The factors below were fitted to the processor time of two Llamas, with 1 and 135 million
parameters, on a server CPU.
"""

import math
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, assert_never

from sway_gate.backends import processor
from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.packing import common_beginning, pack
from sway_gate.backends.processor import is_cpu, may_have_gpu
from sway_gate.conversation import Prompt
from sway_gate.measurements import (
    BASE,
    AlongAnswer,
    Divergence,
    Generation,
    LogProbs,
    Measurement,
    Request,
    TeacherForced,
    View,
)
from sway_gate.model_files.config import model_config
from sway_gate.model_files.shapes import shapes_of

_MAX_THREADS: Final = 16
"""More threads do not make passes of this size faster."""

_PEAK, _NARROW = 0.8, 64
"""A model of hidden size h reaches the share _PEAK · h / (h + _NARROW) of the rate."""
_DIVERGENCE_OPERATIONS, _SCORE_OPERATIONS = 1000, 300
"""Per entry of the vocabulary; an exponential counts as many operations as take its time."""
_GENERATION: Final = 0.5
"""Generation, token by token, reaches this share of the rate."""
_BANDWIDTH: Final = 12e9
"""Bytes of weights per second; generation reads all weights for each token."""
_START_SECONDS, _READ_SECONDS, _EMBEDDER_SECONDS = 5.5, 1e-9, 4.0
"""Imports and judgement; loading, per byte of the weights; sentence embeddings."""
_FASTEST, _SLOWEST = 0.65, 1.5
"""The ends of the reported range, as shares of the expected time."""
_LIBRARIES_BYTES, _PASS_BYTES = 0.5e9, 0.8e9
_RATE_SECONDS: Final = 0.07
_SLOW_CPU: Final = 5e9
"""Floating-point operations per second that one thread of any CPU reaches."""
_EXPERTS: Final = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_EXPERTS_PER_TOKEN: Final = ("num_experts_per_tok", "moe_k", "moe_topk", "moe_top_k")
_UNITS: Final = ((1, "s"), (60, "min"), (3600, "h"))


class Model(NamedTuple):
    """The sizes of a base and its adapter that determine the cost, in weights."""

    linear: int
    """Weights that each token uses."""
    head: int
    """Weights that each scored position uses."""
    vocabulary: int
    hidden: int
    layers: int
    parameters: int
    """All weights of the base."""
    adapter: int = 0
    """Weights of the adapter, which each token uses under other views than the base."""


class Size(NamedTuple):
    """The tokens of one request under one view."""

    read: int
    """Without `context`."""
    scored: int
    generated: int = 0
    """At most."""
    context: int = 0
    """Irrelevant context before the prompt, which other requests share."""
    ids: tuple[int, ...] = ()
    """Numbers instead of the tokens of prompt and completion: equal ones for equal tokens."""


class Work(NamedTuple):
    """All that will be measured, each measurement once, the base's included."""

    measurements: Sequence[Measurement]
    sizes: Mapping[Request, Size]
    dtype: str = "auto"
    embeds: bool = False


def contexts(measurements: Iterable[Measurement], sizes: Mapping[Request, Size]) -> dict[View, int]:
    """The longest context that each view reads, which includes all shorter ones."""
    longest: dict[View, int] = defaultdict(int)
    for view, request in measurements:
        longest[view] = max(longest[view], sizes[request].context)
    return longest


def shared(measurements: Sequence[Measurement], sizes: Mapping[Request, Size]) -> Counter[View]:
    """Tokens that each view does not read again: beginnings of several texts, and whole texts."""
    wanted, found = set(measurements), Counter[View]()
    views_of: dict[Request, list[View]] = defaultdict(list)
    for view, request in measurements:
        if isinstance(request, LogProbs) and Measurement(view, request.whole) in wanted:
            found[view] += sizes[request].read
        elif not sizes[request].context:
            views_of[request].append(view)
    groups: dict[tuple[tuple[View, ...], str], list[EncodedRequest]] = defaultdict(list)
    for request, of_request in views_of.items():
        row = _row(request, sizes[request])
        groups[tuple(of_request), f"{row.kind} {row.length}"].append(row)
    for (views, _), rows in groups.items():
        found.update(dict.fromkeys(views, _read_once(rows)))
    return found


def _row(request: Request, size: Size) -> EncodedRequest:
    """The request as the engine packs it, without the answers that the base has yet to give."""
    end = len(size.ids) - 1
    match request:
        case Divergence():
            return EncodedRequest(size.ids, (end,), kind=request.divergence)
        case Generation():
            return EncodedRequest(size.ids, (end,), kind="text", length=size.generated)
        case LogProbs():
            return EncodedRequest(size.ids, (max(0, end - size.scored),))
        case TeacherForced():
            return EncodedRequest(size.ids, (max(0, end - size.scored),), kind="teacher_forced")
        case _:
            assert_never(request)


def _read_once(rows: Sequence[EncodedRequest]) -> int:
    """Tokens of one group of requests that a view does not read again."""
    texts = sorted(rows, key=lambda row: row.ids)
    if rows[0].kind == "text":
        return common_beginning([row.ids for row in texts]) * (len(texts) - 1)
    return sum(sum(sequence.shared) for sequence in pack(texts, lambda: sys.maxsize))


# -------------------------------------------------------------------------------------------- model


def of_files(folder: Path, adapter: Path) -> Model | None:
    """The sizes in the files' headers and config.json.

    None if they are missing there or the weights are quantized.
    """
    config = model_config(folder)
    tensors = _shapes(_weight_files(folder))
    hidden = _first(config, ("hidden_size", "n_embd"))
    layers = _first(config, ("num_hidden_layers", "n_layer"))
    if not (tensors and hidden and layers) or "quantization_config" in config:
        return None
    embeddings = {name: shape for name, shape in tensors.items() if _is_embedding(name)}
    vocabulary = max((max(shape) for shape in embeddings.values() if shape), default=0)
    experts = _first(config, _EXPERTS)
    active = min(1.0, _first(config, _EXPERTS_PER_TOKEN) / experts) if experts else 1.0
    linear = sum(
        math.prod(shape) * (active if _is_of_experts(name, shape, experts) else 1.0)
        for name, shape in tensors.items()
        if len(shape) > 1 and name not in embeddings
    )
    parameters = sum(map(math.prod, tensors.values()))
    trained = sum(map(math.prod, _shapes([adapter / "adapter_model.safetensors"]).values()))
    return Model(int(linear), vocabulary * hidden, vocabulary, hidden, layers, parameters, trained)


def _first(config: Mapping[str, Any], names: Iterable[str]) -> int:
    found = (config.get(name) for name in names)
    return next((number for number in found if isinstance(number, int) and 0 < number < 2**24), 0)


def _is_embedding(name: str) -> bool:
    return any(part in name for part in ("embed", "wte", "wpe", "lm_head"))


def _is_of_experts(name: str, shape: Sequence[int], experts: int) -> bool:
    """Whether a tensor is of one expert, or of all experts of a layer, of which a token uses some.

    Some models do not name the experts.
    """
    return ".experts." in name or (len(shape) == 3 and shape[0] == experts)


def _weight_files(folder: Path) -> list[Path]:
    """The one file, or its shards."""
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))


def _shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in the files' headers; empty if a header is invalid."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        found = shapes_of(path)
        sizes = map(math.prod, found.values())
        if not found or any(not 0 <= size <= 2 * path.stat().st_size for size in sizes):
            return {}
        shapes |= found
    return shapes


# --------------------------------------------------------------------------------------------- time


def lines(model: Model | None, work: Work, device: str) -> Iterator[str]:
    """Lines that report the time and the memory."""
    if model is None:
        yield (
            "time: unknown; the base is not on this machine, "
            "or its weights are not plain safetensors"
        )
        return
    if not is_cpu(device):
        yield f"time: unknown on {device}"
    else:
        rate = _rate(work)
        time_span = span(*seconds(model, work, rate))
        gpu = "; less if the GPU is used" if may_have_gpu(device) else ""
        speed = f"{rate / 1e9:.0f} GFLOP/s now"
        yield f"time: about {time_span} on this CPU ({speed}), with an empty cache{gpu}"
    yield f"memory: up to about {memory(model, work) / 1e9:.1f} GB"


def exceeds(model: Model, work: Work, limit: float) -> tuple[float, float] | None:
    """The wall time to expect on this CPU, if even its minimum is longer than `limit`."""
    if seconds(model, work, _SLOW_CPU)[0] <= limit:
        return None  # without measuring the rate, which takes a moment
    expected = seconds(model, work, _rate(work))
    return expected if expected[0] > limit else None


def seconds(model: Model, work: Work, rate: float) -> tuple[float, float]:
    """The minimum and maximum wall time to expect, in seconds.

    `rate`: floating-point operations per second of the CPU.
    """
    embedder = _EMBEDDER_SECONDS if work.embeds else 0.0
    start = _START_SECONDS + _READ_SECONDS * 4 * model.parameters + embedder
    least, most = passes(model, work, rate)
    return _FASTEST * (start + least), _SLOWEST * (start + most)


def passes(model: Model, work: Work, rate: float) -> tuple[float, float]:
    """The seconds of all passes if texts end early, and if they do not."""
    reading = _scoring(model, work) / (rate * _PEAK * model.hidden / (model.hidden + _NARROW))
    answers = _generation(model, _answers_by_length(work), rate)
    texts = _generation(model, _texts_by_length(work), rate)
    half = 2 if work.dtype == "fp16" else 1
    # Texts may end after a few words, answers early.
    return reading + answers / 2 + texts / 4, half * (reading + answers + texts)


def _scoring(model: Model, work: Work) -> float:
    """Floating-point operations of all passes that score."""

    def per_token(view: View, attended: float) -> float:
        adapter = 0 if view == BASE else model.adapter
        return 2 * (model.linear + adapter) + 4 * model.layers * model.hidden * attended

    operations = 0.0
    for view, request in work.measurements:
        size = work.sizes[request]
        each = _DIVERGENCE_OPERATIONS if isinstance(request, Divergence) else _SCORE_OPERATIONS
        operations += size.read * per_token(view, size.context + 0.75 * size.read)
        operations += size.scored * (2 * model.head + each * model.vocabulary)
    operations -= sum(
        tokens * per_token(view, 0)
        for view, tokens in shared(work.measurements, work.sizes).items()
    )
    return operations + sum(
        c * per_token(view, c / 2) for view, c in contexts(work.measurements, work.sizes).items()
    )


def _answers_by_length(work: Work) -> Counter[int]:
    """The number of answers of the base that requests along them need, by length in tokens."""
    prompts: dict[Prompt, int] = defaultdict(int)
    for _, r in work.measurements:
        if isinstance(r, AlongAnswer):
            prompts[r.prompt] = max(prompts[r.prompt], r.positions - 1)
    return Counter(length for length in prompts.values() if length)


def _texts_by_length(work: Work) -> Counter[int]:
    return Counter(
        work.sizes[r].generated for _, r in work.measurements if isinstance(r, Generation)
    )


def _generation(model: Model, texts: Mapping[int, int], rate: float) -> float:
    """Seconds to generate `texts` (number by length): as many texts at once as fit into a pass."""
    spent = 0.0
    for length, count in texts.items():
        kept_bytes = count * length * 8 * model.hidden * model.layers
        passes = max(1, math.ceil(kept_bytes / _PASS_BYTES))
        operations = 2 * (model.linear + model.head + model.adapter) * count
        spent += length * (
            passes * 4 * model.parameters / _BANDWIDTH + operations / (rate * _GENERATION)
        )
    return spent


def memory(model: Model, work: Work) -> float:
    """Maximum bytes at the peak."""
    nulls = len({view.seed_index for view, _ in work.measurements if view.source == "null"})
    return memory_with(model, work.dtype, nulls)


def memory_with(model: Model, dtype: str, nulls: int) -> float:
    """Maximum bytes at the peak with a number of null adapters."""
    width = 2 if dtype in ("bf16", "fp16") else 4
    weights = 1.05 * width * model.parameters + width * model.adapter * (1 + nulls)
    return _LIBRARIES_BYTES + weights + _PASS_BYTES


def _rate(work: Work) -> float:
    """Floating-point operations per second in the dtype of the run."""
    rates = processor.rates() if work.dtype == "bf16" else None
    return arithmetic_rate() * (rates.ratio if rates else 1)


def arithmetic_rate() -> float:
    """Floating-point operations per second of float32 matrix products in numpy.

    Measured on as many threads as torch uses.
    """
    import numpy as np

    x, w = np.ones((256, 1024), np.float32), np.ones((1024, 1024), np.float32)
    threads = _threads()

    def multiply(end: float) -> int:
        count = 0
        while count == 0 or time.perf_counter() < end:
            x @ w
            count += 1
        return count

    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            started = time.perf_counter()
            done = sum(pool.map(multiply, [started + _RATE_SECONDS] * threads))
            best = max(best, done * 2 * x.size * len(w) / (time.perf_counter() - started))
    return best


def _threads() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(int(given) if given.isdecimal() else cores, cores, _MAX_THREADS))


def span(low: float, high: float) -> str:
    """A range of seconds such as "10 to 25 s", in one unit, rounded outwards."""
    size, unit = next((size, unit) for size, unit in _UNITS if high < 120 * size or unit == "h")
    low, high = low / size, high / size
    least = math.floor(low / _step(low)) * _step(low)
    most = math.ceil(high / _step(high)) * _step(high)
    return f"{max(1, least)} to {most} {unit}"


def _step(value: float) -> int:
    if value < 10:
        return 1
    return 5 if value < 60 else 10
