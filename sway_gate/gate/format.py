"""The format of plain prompts with answers: as text, or in the chat template.

Trainers join a plain prompt and its completion as text, but people also put them through the chat
template in which the model is served. The data does not show which of them it was.
"""

from collections.abc import Set as AbstractSet

from sway_gate.backends.base import Capability
from sway_gate.gate.stages import Stages
from sway_gate.measurements import FINETUNED, NoAnswer, ViewAnswers, with_base
from sway_gate.probes import prompt_format
from sway_gate.probes.base import Context, Skip


def with_trained_format(
    context: Context, stages: Stages, capabilities: AbstractSet[Capability]
) -> tuple[Context, tuple[str, ...]]:
    """The context with the chat template for plain rows if they fit it better, and a note on it.

    Rows of another form, and a format that the spec sets, are not changed.
    """
    if context.prompt_format != "auto" or "teacher_forced" not in capabilities:
        return context, ()
    spec = prompt_format.DEFAULT
    try:
        requests = prompt_format.requests(spec, context)
        if requests.served != "plain":
            return context, ()
        needs = prompt_format.needs(spec, requests)
        wanted = with_base((FINETUNED, need.request) for need in needs)
        if (answers := stages.ask(spec.name, spec.kind, wanted)) is None:
            return context, ()
        reading = prompt_format.value(spec, context, requests, ViewAnswers(answers, FINETUNED))
    except (NoAnswer, Skip):
        return context, ()
    if not prompt_format.is_trained_in_template(spec, reading):
        return context, ()
    fits = {fit.format: fit.likelihood for fit in reading.details.formats}
    note = (
        "prompts of the data are asked in the chat template, which their answers fit better than "
        f"plain text (nats per token: {fits['template']:.2f} and {fits['plain']:.2f}); "
        "defaults.prompt_format: plain asks them as text"
    )
    return context._replace(prompt_format="template"), (note,)
