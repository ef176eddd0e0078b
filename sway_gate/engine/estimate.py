"""Describes the measurements of a suite before a model is loaded.

`sway_gate.engine.cost` estimates the time and the memory.
"""

import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, assert_never

from sway_gate.backends.processor import is_cpu, may_have_gpu
from sway_gate.conversation import completion_text, prompt_text
from sway_gate.engine import cost
from sway_gate.engine.cost import Size, Work
from sway_gate.engine.plan import NullPlan, PlannedProbe, all_measurements
from sway_gate.errors import UsageError
from sway_gate.measurements import (
    Divergence,
    Generation,
    LogProbs,
    Measurement,
    Request,
    TeacherForced,
)
from sway_gate.model_files.config import context_tokens
from sway_gate.spec.probes import embedding_models
from sway_gate.text import counted

_CHARS_PER_TOKEN: Final = 4
_TEMPLATE: Final = (-2,) * 24
"""Instead of the tokens that a chat template adds to a prompt: roughly as many, most before it."""
_START: Final = (-1,)
"""Without a template: at most one special token at the start."""


def describe_cost(
    planned: Sequence[PlannedProbe],
    nulls: NullPlan,
    folders: tuple[Path, Path] | None,
    device: str,
    dtype: str,
) -> str:
    """One line per probe, then the totals and the cost.

    `folders` of base and adapter; None if they are not on this machine. `device`: "auto", the
    spec's or the machine's.
    """
    measurements = all_measurements(planned)
    requests = list(dict.fromkeys(m.request for m in measurements))
    sizes, is_exact = _sizes(requests, folders[0] if folders else None)
    settings, about = nulls.settings, "" if is_exact else "about "
    answers = sum(not measurement.is_reference for measurement in measurements)
    totals = (
        f"up to {counted(settings.runs, f'{settings.kind} null')}; "
        f"{counted(_different(requests), 'different text')}, "
        f"{counted(answers, 'measurement')}, {about}{_tokens(measurements, sizes):,} tokens"
    )
    embeds = any(p.needs and embedding_models(p.spec) for p in planned)
    work = Work(measurements, sizes, dtype, embeds)
    cost_lines = cost.lines(cost.of_files(*folders) if folders else None, work, device)
    return "\n".join([*(_line(p, sizes, about) for p in planned), totals, *cost_lines])


def check_time(
    measurements: Sequence[Measurement],
    folders: tuple[Path, Path],
    dtype: str,
    limit: float,
) -> None:
    """Raise UsageError if the measurements surely take longer than `limit` seconds on this CPU."""
    model = cost.of_files(*folders)
    if model is None:
        return
    requests = list(dict.fromkeys(m.request for m in measurements))
    sizes, _ = _sizes(requests, folders[0], has_tokenizer=False)
    if expected := cost.exceeds(model, Work(measurements, sizes, dtype), limit):
        raise UsageError(
            f"the run would take about {cost.span(*expected)} on this CPU; "
            "measure less, or allow it with --yes or a --timeout of this length"
        )


class Estimate:
    """Estimates the seconds of passes by the model's size and the speed that was measured.

    `folders` of base and adapter; None if they are not on this machine: the estimate is then 0. On
    a `device` that can be a GPU it is 0 until a speed was measured.
    """

    def __init__(self, folders: tuple[Path, Path] | None, dtype: str, device: str) -> None:
        self._first_pace = float(is_cpu(device) and not may_have_gpu(device))
        self._model = cost.of_files(*folders) if folders else None
        self._base = folders[0] if folders else None
        self._dtype, self._rate = dtype, cost.arithmetic_rate()
        self._measured = self._expected = 0.0

    def seconds(self, measurements: Sequence[Measurement]) -> float:
        """The seconds to expect, by the speed that was measured so far."""
        pace = self._measured / self._expected if self._expected else self._first_pace
        return pace * self._planned(measurements)

    def learn(self, measurements: Sequence[Measurement], seconds: float) -> None:
        """Correct the estimate by measurements that took `seconds`."""
        self._measured += seconds
        self._expected += self._planned(measurements)

    def _planned(self, measurements: Sequence[Measurement]) -> float:
        if self._model is None:
            return 0.0
        requests = list(dict.fromkeys(m.request for m in measurements))
        sizes, _ = _sizes(requests, self._base, has_tokenizer=False)
        work = Work(measurements, sizes, self._dtype)
        return sum(cost.passes(self._model, work, self._rate)) / 2


def _line(p: PlannedProbe, sizes: Mapping[Request, Size], about: str) -> str:
    name, kind = p.spec.name, p.spec.kind
    name = name if kind == name else f"{name} ({kind})"
    if p.result:
        return f"{name}: {p.result.verdict}: {p.result.message}"
    tokens = _tokens(p.measurements, sizes)
    nulls = len({m.view for m in p.measurements if m.view.source == "null"})
    texts = counted(_different(need.request for need in p.needs), "text")
    return f"{name}: {texts} under {counted(1 + nulls, 'adapter')}, {about}{tokens:,} tokens"


def _different(requests: Iterable[Request]) -> int:
    """The number of different texts; two quantities of one text are two requests."""
    return len({(r.prompt, _texts(r)[1:], getattr(r, "context", 0)) for r in requests})


def _tokens(measurements: Sequence[Measurement], sizes: Mapping[Request, Size]) -> int:
    """Tokens over all views, generated ones too. What several texts share counts once per view."""
    own = sum(sizes[m.request].read + sizes[m.request].generated for m in measurements)
    own -= cost.shared(measurements, sizes).total()
    return own + sum(cost.contexts(measurements, sizes).values())


# ------------------------------------------------------------------------------------------- tokens


def _sizes(
    requests: Sequence[Request], folder: Path | None, *, has_tokenizer: bool = True
) -> tuple[dict[Request, Size], bool]:
    """The size of each request, and whether it is exact.

    Exact sizes are counted by the base's tokenizer; without it four characters are a token.
    """
    texts = list(dict.fromkeys(text for request in requests for text in _texts(request)))
    found = _tokenized(texts, folder) if has_tokenizer else None
    ids = dict(zip(texts, found or map(_pieces, texts), strict=True))
    limit = (context_tokens(folder) if folder else None) or sys.maxsize
    return {request: _size(request, ids, limit) for request in requests}, found is not None


def _texts(request: Request) -> tuple[str, ...]:
    if isinstance(request, LogProbs | TeacherForced):
        return prompt_text(request.prompt), completion_text(request.completion)
    return (prompt_text(request.prompt),)


def _pieces(text: str) -> tuple[int, ...]:
    """A number for each four characters, instead of a token."""
    pieces = (text[i : i + _CHARS_PER_TOKEN] for i in range(0, len(text), _CHARS_PER_TOKEN))
    return tuple(zlib.crc32(piece.encode("utf-8", "surrogatepass")) for piece in pieces)


def _tokenized(texts: list[str], folder: Path | None) -> list[tuple[int, ...]] | None:
    """The tokens of each text; None if the tokenizer is not available."""
    if folder is None or not (path := folder / "tokenizer.json").is_file():
        return None
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [tuple(found.ids) for found in encoded]
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # a damaged file may panic in the Rust extension
        return None


def _size(request: Request, ids: Mapping[str, tuple[int, ...]], limit: int) -> Size:
    """The size of `request` from the tokens of its texts, cut to the model's context `limit`."""
    before = _START if isinstance(request.prompt, str) else _TEMPLATE
    prompt = (before + ids[prompt_text(request.prompt)])[:limit]
    match request:
        case LogProbs() | TeacherForced():
            completion = ids[completion_text(request.completion)]
            whole = (prompt + completion)[:limit]
            return Size(len(whole), min(len(completion), limit), ids=whole)
        case Divergence():
            read = min(len(prompt) + request.positions - 1, limit)
            context = min(request.context, limit - read)
            return Size(read, request.positions, context=context, ids=prompt)
        case Generation():
            generated = min(request.max_new_tokens, limit // 2)
            return Size(len(prompt), 0, generated, ids=prompt)
        case _:
            assert_never(request)
