"""The format of rows whose form does not show it: the chat template, text, or Alpaca's prompt.

Trainers join a plain prompt and its completion as text, but people also put them through the chat
template in which the model is served. Rows of Alpaca are put into its prompt or into the template.
"""

from collections.abc import Set as AbstractSet
from typing import Final

from sway_gate.backends.base import Capability
from sway_gate.gate.stages import Stages
from sway_gate.measurements import FINETUNED, NoAnswer, ViewAnswers, with_base
from sway_gate.probes import prompt_format
from sway_gate.probes.base import Context, PromptFormat, Skip

_NAMES: Final[dict[PromptFormat, str]] = {
    "template": "the chat template",
    "plain": "plain text",
    "alpaca": "the prompt of Alpaca",
}


def with_trained_format(
    context: Context, stages: Stages, capabilities: AbstractSet[Capability]
) -> tuple[Context, tuple[str, ...]]:
    """The context with the other format of plain rows or rows of Alpaca if their answers fit it
    better, and a note on it.

    Rows of another form, and a format that the spec sets, are not changed.
    """
    if context.prompt_format != "auto" or "teacher_forced" not in capabilities:
        return context, ()
    spec = prompt_format.DEFAULT
    try:
        requests = prompt_format.requests(spec, context)
        if (other := requests.other) is None:
            return context, ()
        needs = prompt_format.needs(spec, requests)
        wanted = with_base((FINETUNED, need.request) for need in needs)
        if (answers := stages.ask(spec.name, spec.kind, wanted)) is None:
            return context, ()
        reading = prompt_format.value(spec, context, requests, ViewAnswers(answers, FINETUNED))
    except (NoAnswer, Skip):
        return context, ()
    if not prompt_format.is_trained_in(other, reading):
        return context, ()
    fits = {fit.format: fit.likelihood for fit in reading.details.formats}
    served = requests.served
    note = (
        f"prompts of the data are asked in {_NAMES[other]}, which their answers fit better than "
        f"{_NAMES[served]} (nats per token: {fits[other]:.2f} and {fits[served]:.2f}); "
        f"defaults.prompt_format: {served} asks them in {_NAMES[served]}"
    )
    return context._replace(prompt_format=other), (note,)
