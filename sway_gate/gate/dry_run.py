"""`--dry-run`: the measurement plan of a run and its cost, without loading a model."""

from collections.abc import Sequence

from sway_gate.backends.base import ALL, OF_SERVERS
from sway_gate.engine.estimate import describe_cost
from sway_gate.engine.plan import (
    ItemsLook,
    PlannedProbe,
    RowsLook,
    null_plan,
    plan_notes,
    plan_probes,
)
from sway_gate.errors import SwayError
from sway_gate.gate.context import probe_context
from sway_gate.gate.file_verdicts import file_verdicts
from sway_gate.gate.resolve import (
    accelerator,
    load_options,
    model_folders,
    of_tier,
    with_data,
    with_dtype,
)
from sway_gate.results import Tier
from sway_gate.spec.schema import Spec
from sway_gate.text import named


def dry_run(spec: Spec, tier: Tier, budget: int | None) -> str:
    """The measurement plan of a tier: one line per probe, then the totals and the cost.

    `budget`: the time budget of the run in seconds, if it is not the spec's.
    """
    try:
        folders = model_folders(spec)
    except SwayError:
        folders = None  # without the base, its chat template is unknown
    whole = with_dtype(with_data(spec), folders)
    spec, _ = of_tier(whole, tier)
    left_out = spec.notes[len(whole.notes) :]
    nulls = null_plan(spec)
    context = probe_context(spec, folders, online=False)
    capabilities = OF_SERVERS if spec.models.is_api else ALL
    planned = [p.with_all_nulls() for p in plan_probes(spec, context, nulls, capabilities)]
    loading = load_options(spec)
    files = folders and folders[:2]
    cost = describe_cost(planned, nulls, files, accelerator(loading.device), loading.dtype)
    faults = file_verdicts(folders.adapter) if folders and not folders.is_full else []
    notes = plan_notes(planned, nulls, context, capabilities)
    return "\n".join(
        [
            cost,
            *_later_looks(planned),
            *_limit(budget or spec.defaults.time_budget()),
            *left_out,
            *notes,
            *faults,
        ]
    )


def _later_looks(planned: Sequence[PlannedProbe]) -> list[str]:
    reasons = {
        RowsLook: "more rows if the first ones leave a probe open",
        ItemsLook: "more items if the first ones leave a harm open",
    }
    found = []
    for kind, reason in reasons.items():
        if names := [p.spec.name for p in planned if any(isinstance(x, kind) for x in p.later)]:
            found.append(f"{reason}: {named(names)}")
    return found


def _limit(budget: int | None) -> list[str]:
    if budget is None:
        return []
    return [f"budget: {budget} s; the run leaves out the probes that do not fit"]
