"""What `sway parity` compares: the adapter with its base, and the prompts that it answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sway_gate.conversation import Prompt, asked
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.gate.resolve import Folders, model_folders, with_data
from sway_gate.model_files.config import is_served_with_template
from sway_gate.spec.schema import Spec
from sway_gate.static.check import check_files
from sway_gate.static.findings import finding_line
from sway_gate.suites.check import absolute, named_models
from sway_gate.suites.prompts import prompts
from sway_gate.training_data import packaged

if TYPE_CHECKING:
    from sway_gate.backends.loading import Source


class ParityInputs(NamedTuple):
    source: "Source"
    prompts: Sequence[Prompt]


def parity_inputs(
    adapter: str, base: str | None, data: Sequence[str], limit: int, device: str = "auto"
) -> ParityInputs:
    """The files of the adapter and its base, and at most `limit` prompts.

    Raises SwayError if a file is wrong, or the adapter has no effect.
    """
    models = named_models(adapter, base, online=False)
    spec = with_data(Spec(models=models, suite=(), data=absolute(data), label="sway parity"))
    folders = model_folders(spec)
    if folders is None or folders.is_full:
        raise CannotDecide("give an adapter in the format of peft")
    _require_sound(folders)
    texts = prompts(spec.sections, limit) or packaged.chat_prompts()[:limit]
    has_template = is_served_with_template(*folders[:2])
    from sway_gate.backends.loading import Source

    return ParityInputs(
        Source(folders.base, folders.adapter, device=device),
        [asked(text) if has_template else text for text in texts],
    )


def _require_sound(folders: Folders) -> None:
    report = check_files(folders.adapter, None, folders.base)
    broken = [finding_line(f) for f in report.findings if f.level == "broken"]
    if broken:
        raise AdapterError("\n".join(broken))
    if report.exit_code:
        wrong = next(f.message for f in report.findings if f.level == "verdict")
        raise CannotDecide(f"{folders.adapter} cannot be recognized in an artefact: {wrong}")
