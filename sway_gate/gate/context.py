"""Inputs that all probes of a run share: sections, control prose, chat template, embedder."""

from sway_gate.backends.embedding import SentenceEmbedder
from sway_gate.errors import UsageError
from sway_gate.gate.resolve import Folders, tokenizer_folder
from sway_gate.model_files.config import context_tokens, is_served_with_template
from sway_gate.probes.base import Context
from sway_gate.spec.schema import Spec


def probe_context(spec: Spec, folders: Folders | None, online: bool) -> Context:
    """The shared inputs. Without the files of a tokenizer no prompt goes through a template."""
    base_folder = folders.base if folders else tokenizer_folder(spec, online=online)
    chat = spec.defaults.chat_template
    if base_folder is None:
        chat = "off"
    elif not is_served_with_template(base_folder, folders.adapter if folders else base_folder):
        if chat == "on":
            raise UsageError(
                f"defaults.chat_template is on, but {spec.models.base.base} has no chat template;"
                " set it to auto or off"
            )
        chat = "off"
    return Context(
        sections=spec.sections,
        control=spec.control,
        seed=spec.defaults.seed,
        held_out=spec.held_out_sections,
        reserve=spec.reserve,
        held_out_reserve=spec.held_out_reserve,
        chat_template=chat,
        prompt_format=spec.defaults.prompt_format,
        learn=spec.defaults.learn,
        max_tokens=context_tokens(base_folder) if base_folder else None,
        embedder=SentenceEmbedder(online),
    )
