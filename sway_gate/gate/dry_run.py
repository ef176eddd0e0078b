"""`--dry-run`: what a run would measure, and what it would cost, without loading a model."""

from pathlib import Path

from sway_gate.engine.estimate import describe_cost
from sway_gate.engine.plan import null_plan, plan_notes, plan_probes
from sway_gate.errors import SwayError
from sway_gate.gate.context import probe_context
from sway_gate.gate.resolve import accelerator, load_options, model_folders, with_data
from sway_gate.spec.schema import Spec


def dry_run(spec: Spec) -> str:
    """What a run would measure, in words, without any model."""
    try:
        found = model_folders(spec)
    except SwayError:
        found = None  # without the base here it is not known whether it has a chat template
    return outline(with_data(spec), found)


def outline(spec: Spec, folders: tuple[Path, Path] | None) -> str:
    """What would be measured: a line a probe, the totals, and what it takes."""
    calibrated = null_plan(spec)
    context = probe_context(spec, folders[0] if folders else None, online=False)
    planned = plan_probes(spec, context, calibrated)
    loading = load_options(spec)
    lines = describe_cost(planned, calibrated, folders, accelerator(loading.device), loading.dtype)
    return "\n".join([lines, *plan_notes(planned, calibrated, context)])
