"""sway-gate: did LoRA training really change this model, toward what it was trained on, without breaking the rest?

    import sway_gate

    result = sway_gate.run("sway.yaml")
    result = sway_gate.check("out/adapter", base="org/model", data="train.jsonl")
    print(result.verdict, result.score, [probe.message for probe in result.probes])

Both give a `GateResult`, a frozen struct. Whatever keeps them from one raises a `SwayError` of one line a mistake;
`exit_code` of it, and of the result, is what the command `sway` ends with. docs/python.md tells more.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sway_gate.version import __version__

if TYPE_CHECKING:
    from sway_gate.errors import AdapterError, CannotDecide, SpecError, SwayError, UsageError
    from sway_gate.results import GateResult, ProbeResult, Verdict
    from sway_gate.spec.schema import Spec

__all__ = [
    "AdapterError",
    "CannotDecide",
    "GateResult",
    "ProbeResult",
    "SpecError",
    "SwayError",
    "UsageError",
    "Verdict",
    "__version__",
    "check",
    "run",
]

_Path = str | os.PathLike[str]


def run(
    spec: "_Path | Spec",
    *,
    threshold: float | None = None,
    weights: Mapping[str, float] | None = None,
    online: bool = False,
    cache: bool = True,
) -> "GateResult":
    """The verdict on a spec: a file, or a `sway_gate.spec.schema.Spec`. What `sway run SPEC` does, without its output.

    threshold: the least composite to pass, 0 to 1; weights: of categories in the composite, by name; both in place of
    what the spec says. online: download models that are missing. cache: use and keep what was measured.

    Raises SpecError with every mistake in the spec, AdapterError for broken files of the adapter, UsageError for wrong
    arguments, CannotDecide where a model or an extra is not to be had; all of them are SwayErrors.
    """
    from sway_gate.gate.arguments import check_categories, checked_threshold, checked_weights
    from sway_gate.gate.resolve import Options
    from sway_gate.gate.run import run_gate
    from sway_gate.spec import schema
    from sway_gate.spec.load import load_spec

    loaded = spec if isinstance(spec, schema.Spec) else load_spec(os.fspath(spec))
    options = Options(
        threshold=checked_threshold(threshold, "threshold"),
        weights=checked_weights(weights, "weights"),
        online=online,
        cache=cache,
    )
    check_categories(loaded, options.weights, "weights")
    return run_gate(loaded, options)


def check(
    adapter: _Path,
    *,
    base: _Path | None = None,
    data: _Path | Sequence[_Path] = (),
    prompts: _Path | Sequence[str] | None = None,
    online: bool = False,
    cache: bool = True,
) -> "GateResult":
    """The verdict on an adapter (a folder or a hub id) without a spec. What `sway check ADAPTER` does.

    base: folder or hub id; without it the adapter's own configuration tells. data: what it was trained on, one or
    several files of JSONL, Markdown or text; with it the verdict tells also what was learned, and what can be drawn
    out. prompts: to judge by, as a list of texts, or as a file with one a line; without them the data's, or neutral
    ones. online, cache and the errors are those of `run`.
    """
    from sway_gate.gate.resolve import Options
    from sway_gate.gate.run import run_gate
    from sway_gate.suites.check import check_suite

    files = [data] if isinstance(data, str | os.PathLike) else data
    given = os.fspath(prompts) if isinstance(prompts, os.PathLike) else prompts
    named = None if base is None else os.fspath(base)
    suite = check_suite(
        os.fspath(adapter), named, given, [os.fspath(file) for file in files], online
    )
    return run_gate(suite, Options(online=online, cache=cache))


def __getattr__(name: str) -> Any:
    """The names of `__all__` that live elsewhere: they are imported when they are used."""
    if name in __all__:
        from sway_gate import errors, results

        return getattr(errors, name, None) or getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
