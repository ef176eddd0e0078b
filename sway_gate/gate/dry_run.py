"""`--dry-run`: the measurement plan of a run and its cost, without loading a model."""

from sway_gate.engine.estimate import describe_cost
from sway_gate.engine.plan import null_plan, plan_notes, plan_probes
from sway_gate.errors import SwayError
from sway_gate.gate.context import probe_context
from sway_gate.gate.file_verdicts import file_verdicts
from sway_gate.gate.resolve import accelerator, load_options, model_folders, with_data, with_dtype
from sway_gate.spec.schema import Spec


def dry_run(spec: Spec) -> str:
    """The measurement plan: one line per probe, then the totals and the cost."""
    try:
        folders = model_folders(spec)
    except SwayError:
        folders = None  # without the base, its chat template is unknown
    spec = with_dtype(with_data(spec), folders)
    nulls = null_plan(spec)
    context = probe_context(spec, folders, online=False)
    planned = [p.with_all_nulls() for p in plan_probes(spec, context, nulls)]
    loading = load_options(spec)
    files = folders and folders[:2]
    cost = describe_cost(planned, nulls, files, accelerator(loading.device), loading.dtype)
    faults = file_verdicts(folders.adapter) if folders and not folders.is_full else []
    return "\n".join([cost, *plan_notes(planned, nulls, context), *faults])
