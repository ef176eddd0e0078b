"""sway-gate tests whether LoRA training changed a model as intended, without damage elsewhere.

    import sway_gate

    result = sway_gate.run("sway.yaml")
    result = sway_gate.check("out/adapter", base="org/model", data="train.jsonl")
    print(result.verdict, result.score, [probe.message for probe in result.probes])

Both return a `GateResult`, a frozen struct. If no verdict can be reached they raise a `SwayError`,
with one line per mistake. The `exit_code` of a result or an error is the exit code of the command
`sway`. See docs/python.md.
"""

from __future__ import annotations

import os

from sway_gate.version import __version__

TYPE_CHECKING = False  # as in `typing`, which a start imports only after it handles Ctrl-C
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

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
    spec: _Path | Spec,
    *,
    threshold: float | None = None,
    weights: Mapping[str, float] | None = None,
    online: bool = False,
    cache: bool = True,
    allow_code: bool = False,
    tier: Literal["quick", "full"] = "full",
    budget: int | None = None,
) -> GateResult:
    """The verdict of `sway gate SPEC`: on a spec, a file or a `sway_gate.spec.schema.Spec`.

    threshold: minimum composite to pass, 0 to 1. weights: weights of categories in the composite,
    by name. Both override the spec. online: download missing models. cache: use cached results, and
    cache new ones. allow_code: run the code that the spec names: a custom backend, code of models.
    tier: quick judges only the probes that answer most for their time. budget: in seconds; probes
    that do not fit are left out and inconclusive.

    Raises SpecError with every mistake in the spec, AdapterError if the adapter's files are broken,
    UsageError if an argument is wrong, and CannotDecide if a model or an extra is not available.
    All of them are SwayErrors.
    """
    from sway_gate.gate import arguments
    from sway_gate.gate.resolve import Options
    from sway_gate.gate.run import run_gate
    from sway_gate.reports.notebook import NotebookResult
    from sway_gate.spec import schema
    from sway_gate.spec.load import load_spec

    with arguments.worded_for_python():
        if isinstance(spec, schema.Spec):
            loaded = spec
        else:
            loaded = load_spec(arguments.checked_path(spec, "spec"))
        options = Options(
            threshold=arguments.checked_threshold(threshold, "threshold"),
            weights=arguments.checked_weights(weights, "weights"),
            online=online,
            cache=cache,
            allow_code=allow_code,
            tier=arguments.checked_tier(tier),
            budget=arguments.checked_budget(budget),
        )
        arguments.check_categories(loaded, options.weights, "weights")
        return NotebookResult.of(run_gate(loaded, options))


def check(
    adapter: _Path | None = None,
    *,
    base: _Path | None = None,
    model: _Path | None = None,
    data: _Path | Sequence[_Path] = (),
    held_out: _Path | Sequence[_Path] = (),
    data_map: Mapping[str, str] | None = None,
    learn: Literal["auto", "content", "form", "preference"] = "auto",
    prompts: _Path | Sequence[str] | None = None,
    quantization: Literal["nf4", "int8"] | None = None,
    online: bool = False,
    cache: bool = True,
    tier: Literal["quick", "full"] = "quick",
    budget: int | None = None,
) -> GateResult:
    """The verdict of `sway check ADAPTER`: on an adapter (folder or hub id) without a spec.

    base: folder or hub id; by default the adapter's config names it. model: a fine-tuned model
    without an adapter, instead of `adapter`; requires base. quantization: quantize the base when it
    is loaded, as QLoRA does. data: the training data, one or several files or folders; with it the
    verdict also covers what was learned and what can be extracted verbatim. held_out: files with
    rows that training did not see; with them the verdict covers whether the adapter generalises.
    data_map: the fields of data in another format, such as
    {"prompt": "question", "answer": "reply"}. learn: what training was meant to teach; auto:
    inferred. prompts: a list of texts, or a file with one prompt per line; by default
    prompts from the data or questions, and sentences to continue. online, cache, tier, budget and
    the errors are the same as for `run`. Without data, pass means only that the adapter changed the
    model and did not break it; a note states what was not judged.
    """
    from sway_gate.gate import arguments
    from sway_gate.gate.resolve import Options
    from sway_gate.gate.run import run_gate
    from sway_gate.reports.notebook import NotebookResult
    from sway_gate.spec.schema import Quantization
    from sway_gate.suites.check import CheckInputs, check_suite, for_check
    from sway_gate.suites.supports import Learn

    with arguments.worded_for_python():
        if quantization is not None:
            arguments.checked_choice(quantization, Quantization, "quantization")
        fields = None if data_map is None else arguments.checked_map(data_map, "data_map")
        given = CheckInputs(
            adapter=None if adapter is None else arguments.checked_path(adapter, "adapter"),
            base=None if base is None else arguments.checked_path(base, "base"),
            prompts=None if prompts is None else arguments.checked_prompts(prompts),
            data=arguments.checked_paths(data, "data"),
            online=online,
            held_out=arguments.checked_paths(held_out, "held_out"),
            learn=arguments.checked_choice(learn, Learn, "learn"),
            data_map=fields,
            quantization=quantization,
            model=None if model is None else arguments.checked_path(model, "model"),
        )
        options = Options(
            online=online,
            cache=cache,
            tier=arguments.checked_tier(tier),
            budget=arguments.checked_budget(budget),
        )
        return NotebookResult.of(for_check(run_gate(check_suite(given), options)))


def __getattr__(name: str) -> Any:
    """The error and result types of `__all__`, which are imported when they are used.

    `Undecided` is an alias of `CannotDecide`.
    """
    if name in (*__all__, "Undecided"):
        from sway_gate import errors, results

        return getattr(errors, name, None) or getattr(results, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
