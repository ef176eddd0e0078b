"""What a suite will measure, told before anything is loaded; how long that takes is for `sway_gate.engine.cost`."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sway_gate.engine import cost
from sway_gate.engine.cost import Size, Work
from sway_gate.engine.plan import NullPlan, PlannedProbe, measurement_keys
from sway_gate.engine.run import Key
from sway_gate.measurements import BASE, Divergence, Generation, LogProbs, Request, TeacherForced
from sway_gate.model_files.config import context_tokens
from sway_gate.spec.probes import embedding_models

_CHARS_PER_TOKEN: Final = 4
_TEMPLATE_TOKENS: Final = 24
"""What a chat template puts around a prompt, roughly."""


def describe_cost(
    planned: Sequence[PlannedProbe],
    calibrated: NullPlan,
    folders: tuple[Path, Path] | None,
    device: str,
    dtype: str,
) -> str:
    """A line a probe, the totals, and what it takes. `device` is "auto" or what the spec or the machine names."""
    requests = dict.fromkeys(need.request for p in planned for need in p.needs)
    sizes, is_exact = _sizes(list(requests), folders[0] if folders else None)
    measured = _with_base(measurement_keys(planned))
    settings, about = calibrated.settings, "" if is_exact else "about "
    totals = (
        f"{settings.runs} {settings.kind} nulls; {len(requests)} different texts, {_answers(measured)} measurements, "
        f"{about}{_tokens(measured, sizes):,} tokens"
    )
    embeds = any(p.needs and embedding_models(p.spec) for p in planned)
    work = Work(measured, sizes, dtype, embeds)
    takes = cost.takes(cost.of_files(*folders) if folders else None, work, device)
    return "\n".join([*(_line(p, sizes, about) for p in planned), totals, *takes])


def _line(p: PlannedProbe, sizes: Mapping[Request, Size], about: str) -> str:
    name = f"{p.spec.name} ({p.spec.kind})"
    if p.result:
        return f"{name}: {p.result.verdict}: {p.result.message}"
    tokens = _tokens(_with_base(measurement_keys([p])), sizes)
    return f"{name}: {len(p.needs)} texts under {1 + len(p.null_views())} adapters, {about}{tokens:,} tokens"


def _with_base(wanted: Iterable[Key]) -> dict[Key, None]:
    """Each key once, and the base's answer to each request."""
    return {key: None for view, request in wanted for key in ((BASE, request), (view, request))}


def _answers(measured: Iterable[Key]) -> int:
    """Of a divergence from the base the base itself has no answer."""
    return sum(not (view == BASE and isinstance(request, Divergence)) for view, request in measured)


def _tokens(measured: Iterable[Key], sizes: Mapping[Request, Size]) -> int:
    """Read and written over all views; a context that texts share counts once a view."""
    own = sum(sizes[request].read + sizes[request].written for _, request in measured)
    return own + sum(cost.contexts(measured, sizes).values())


# ----------------------------------------------------------------------------------------------------------- tokens


def _sizes(requests: Sequence[Request], folder: Path | None) -> tuple[dict[Request, Size], bool]:
    """By the base's own tokenizer where it can be read here, else by the number of characters."""
    texts = list(dict.fromkeys(text for request in requests for text in _texts(request)))
    counts = _counted(texts, folder)
    lengths = dict(
        zip(texts, counts or [-(-len(text) // _CHARS_PER_TOKEN) for text in texts], strict=True)
    )
    limit = (context_tokens(folder) if folder else None) or sys.maxsize
    return {request: _size(request, lengths, limit) for request in requests}, counts is not None


def _texts(request: Request) -> tuple[str, ...]:
    return (
        (request.prompt, request.completion)
        if isinstance(request, LogProbs | TeacherForced)
        else (request.prompt,)
    )


def _counted(texts: list[str], folder: Path | None) -> list[int] | None:
    """Tokens of each text; None where the tokenizer is not to be had."""
    if folder is None or not (path := folder / "tokenizer.json").is_file():
        return None
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        return [len(found.ids) for found in tokenizer.encode_batch(texts, add_special_tokens=False)]
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # whatever a damaged file provokes in the Rust extension, panics included
        return None


def _size(request: Request, lengths: Mapping[str, int], limit: int) -> Size:
    prompt = lengths[request.prompt] + (_TEMPLATE_TOKENS if getattr(request, "chat", False) else 1)
    match request:
        case LogProbs() | TeacherForced():
            return Size(
                min(prompt + lengths[request.completion], limit),
                min(lengths[request.completion], limit),
            )
        case Divergence():
            read = min(prompt + request.positions - 1, limit)
            return Size(read, request.positions, 0, min(request.context, limit - read))
        case Generation():
            return Size(min(prompt, limit), 0, min(request.max_new_tokens, limit // 2))
