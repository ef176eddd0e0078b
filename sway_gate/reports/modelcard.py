"""The block for a model card: the hub's `model-index` as YAML, then a section in Markdown.

A card is public: it names models and the spec without their folders, and quotes no text of the
data. The YAML has the fields of `EvalResult` in huggingface_hub.
"""

import math
import re
import shlex
from collections.abc import Iterator
from typing import Any, Final

import yaml

from sway_gate.model_files.hub import is_hub_id
from sway_gate.reports.markdown import head, row, text
from sway_gate.reports.wording import (
    diagnosis,
    evidence,
    in_units,
    most_severe_first,
    null_adapters,
    reasons,
    score_text,
    setting,
    subject,
    title,
)
from sway_gate.results import CHECK, AppliedWaiver, GateResult, ModelFacts, ProbeResult
from sway_gate.text import cut, one_line

MAX_PROBES: Final = 100
_VERSION: Final = re.compile(r"[0-9][\w.+!-]{0,40}", re.ASCII)
_ID: Final = re.compile(r"\W+", re.ASCII)


def render(result: GateResult) -> str:
    """Render the front matter, and the section below it."""
    index = yaml.safe_dump(
        {"model-index": _model_index(result)},
        allow_unicode=True,
        sort_keys=False,
        width=math.inf,
    )
    return f"---\n{index}---\n\n" + "\n\n".join(_section(result)) + "\n"


# YAML


def _model_index(result: GateResult) -> list[dict[str, Any]]:
    suite = {"type": "sway-gate", "name": f"sway-gate suite {public_name(result.spec)}"}
    found = {
        "task": {"type": "text-generation"},
        "dataset": suite,
        "metrics": list(_metrics(result)),
    }
    return [{"name": _model(result.adapter), "results": [found]}]


def _metrics(result: GateResult) -> Iterator[dict[str, Any]]:
    yield {"type": "sway_gate_verdict", "value": one_line(result.verdict), "name": "verdict"}
    yield from _metric("composite", "composite", result.score)
    for probe in result.probes[:MAX_PROBES]:
        units = f", {one_line(probe.units)}" if probe.units else ""
        yield from _metric(probe.kind, title(probe) + units, probe.raw)


def _metric(kind: str, name: str, value: float | None) -> Iterator[dict[str, Any]]:
    if value is not None and math.isfinite(value):
        id = _ID.sub("_", kind)
        yield {"type": f"sway_gate_{cut(id, 60)}", "value": float(f"{value:.6g}"), "name": name}


# Markdown


def _section(result: GateResult) -> Iterator[str]:
    yield "## Release gate"
    why = "could not decide" if result.verdict == "error" else " · ".join(reasons(result))
    yield f"**{text(result.verdict.upper())}** {text(why)}"
    if found := diagnosis(result):
        yield text(found)
    if result.probes:
        yield _table(result)
    named = [(p.name, p.waiver) for p in result.probes[:MAX_PROBES]]
    named += [(found.id, found.waiver) for found in result.findings[:MAX_PROBES]]
    if waivers := [_waiver(name, own) for name, own in named if own]:
        yield "\n".join(["Waivers:", "", *waivers])
    yield "\n".join(["How it was measured:", "", *(f"- {line}" for line in _measured(result))])
    yield f"Repeat it with the same files:\n\n```bash\n{_install(result)}\n{_command(result)}\n```"


def _table(result: GateResult) -> str:
    shown = most_severe_first(result.probes)[:MAX_PROBES]
    rows = [row(_cells(probe)) for probe in shown]
    if more := len(result.probes) - len(shown):
        rows.append(f"\nand {more} more in the JSON report")
    return "\n".join([*head(("", "probe", "score", "value", "z or bound")), *rows])


def _cells(probe: ProbeResult) -> list[str]:
    numbers = (score_text(probe.score), in_units(probe.raw, probe.units), evidence(probe))
    return [f"**{probe.verdict.upper()}**", *map(text, (title(probe), *numbers))]


def _waiver(name: str, own: AppliedWaiver) -> str:
    state = "expired on" if own.is_expired else "until"
    return f"- {text(f'{name}: {own.reason} ({own.by}, {state} {own.expires})')}"


def _measured(result: GateResult) -> Iterator[str]:
    for name, facts in ((subject(result.adapter), result.adapter), ("base", result.base)):
        revision = f" at {facts.revision}" if facts.revision else ""
        digest = f", sha256 {facts.digest}" if facts.digest else ""
        yield text(f"{name}: {_model(facts)}{revision}{digest}")
    yield text(" · ".join((null_adapters(result), *setting(result))))
    yield text(f"sway-gate {result.versions.get('sway-gate', 'of unknown version')}")


def _install(result: GateResult) -> str:
    version = result.versions.get("sway-gate", "")
    pin = f"=={version}" if _VERSION.fullmatch(version) else ""
    return f'pip install "sway-gate[hf]{pin}"'


def _command(result: GateResult) -> str:
    if result.spec == CHECK:
        adapter, base = (shlex.quote(_model(facts)) for facts in (result.adapter, result.base))
        option = "--model" if result.adapter.is_full else ""
        words = (CHECK, option, adapter, "--base", base, "# and the same --data")
        return " ".join(filter(None, words))
    return f"sway gate {shlex.quote(public_name(result.spec))}"


# Names


def _model(facts: ModelFacts) -> str:
    """The hub id of a model from the hub, otherwise the name of its folder."""
    is_on_hub = facts.revision is not None and is_hub_id(facts.path)
    return one_line(facts.path) if is_on_hub else public_name(facts.path)


def public_name(path: str) -> str:
    """The last part of a path of any system, or of a label."""
    parts = [part for part in re.split(r"[\\/]", one_line(path)) if part.strip(". ")]
    return cut(parts[-1], 100) if parts else "unnamed"
