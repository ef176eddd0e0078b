"""Downloads the models of a spec."""

from pathlib import Path

from sway_gate.gate.resolve import model_folders, suite_embedders, tokenizer_folder
from sway_gate.model_files import hub
from sway_gate.spec.schema import Spec


def prefetch(spec: Spec) -> list[str]:
    """Download the models of the spec. Return one line per model with its folder and commit."""
    from sway_gate.spec.probes import PINNED

    lines = []
    if folders := model_folders(spec, online=True):
        lines.append(_fetched("base model", spec.models.base.base, folders.base))
        ft = spec.models.ft
        what = "fine-tuned model" if folders.is_full else "adapter"
        lines.append(_fetched(what, ft.adapter or ft.base, folders.adapter))
    if folder := tokenizer_folder(spec, online=True):
        name = spec.models.base.tokenizer or spec.models.ft.tokenizer or ""
        lines.append(_fetched("tokenizer", name, folder))
    for model in suite_embedders(spec):
        what = "embedding model"
        folder = hub.local(model, PINNED.get(model), online=True, what=what)
        lines.append(_fetched(what, model, folder))
    return lines or [f"kind: {spec.models.ft.kind} has no files to download"]


def _fetched(what: str, ref: str, folder: Path) -> str:
    commit = hub.commit(folder)
    return f"{what} {ref}: {folder}" + (f" ({commit})" if commit else "")
