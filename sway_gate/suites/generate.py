"""Generate the suite of `sway init` and `sway autogen` from an adapter and its training data.

The same adapter, data and installation produce the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate import probes
from sway_gate.errors import SwayError, UsageError
from sway_gate.files import did_you_mean
from sway_gate.gate.file_verdicts import file_verdicts
from sway_gate.gate.resolve import with_data
from sway_gate.model_files import find, hub
from sway_gate.spec.confine import check_spec
from sway_gate.spec.schema import DataMap, Defaults, ModelRef, Models, Spec
from sway_gate.suites.check import absolute, has_template, named_models
from sway_gate.suites.choose import suite
from sway_gate.suites.supports import (
    Entry,
    Learn,
    LeftOut,
    Material,
    described,
    few_rows,
    unjudged,
    wanted,
)
from sway_gate.suites.yaml_writer import block, comment

_MEMORIZE_EPOCHS: Final = 20
"""Epochs from which on a document is meant to be memorized."""


class Draft(NamedTuple):
    """A suite before it is written.

    text: content of the file. probes: their names. data: the data in a few words. missing: models
    in the suite that are not on this machine. few_rows: why the data is too little for a probe.
    faults: why a gate of this adapter measures nothing.
    """

    text: str
    probes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    data: str
    missing: tuple[str, ...]
    few_rows: str = ""
    faults: tuple[str, ...] = ()


def for_data(
    adapter: str,
    data: Sequence[str],
    base: str | None,
    folder: str,
    online: bool = False,
    held_out: Sequence[str] = (),
    learn: Learn = "auto",
    data_map: DataMap | None = None,
    confine: str | None = None,
) -> Draft:
    """The suite for an adapter (folder or hub id) and its training files, for a file in `folder`.

    With `online`, a missing adapter is downloaded to read the name of its base model. held_out:
    files with rows that training did not see. learn: what training was meant to teach; auto:
    inferred from the data if it decides. data_map: the fields of data in another format. confine:
    the folder that all files must be in. Raises UsageError if adapter or base are not found or the
    data is not sufficient, and SpecError with every mistake in the data.
    """
    models = named_models(adapter, base, online)
    for ref in (models.ft.adapter or "", models.base.base):
        is_path = not hub.is_hub_id(ref) or (not online and hub.is_missing_folder(ref))
        if is_path and not os.path.isdir(ref):
            what = "not a folder" if os.path.exists(ref) else "no such folder"
            remedy = "give a folder that contains a saved model, or a hub id"
            message = did_you_mean(ref, folder=True) or remedy
            raise UsageError(f"{ref}: {what}; {message}")
    trained = _local(models.ft.adapter or "", None)
    models = _pinned(models, find.pinned_revision(trained, models.base.base) if trained else None)
    paths, unseen = absolute(data), absolute(held_out)
    files = Spec(
        models=models,
        suite=(),
        data=paths,
        data_map=data_map,
        held_out=unseen,
        defaults=Defaults(learn=learn),
        label="sway init",
        folder=folder,
    )
    check_spec(files, confine)
    loaded = with_data(files)
    named = _models(models, folder, _written(models.ft.adapter or "", folder))
    source: Fields = {"data": [_written(path, folder) for path in paths]}
    if data_map:
        source["data_map"] = data_map.fields()
    if unseen:
        source["held_out"] = [_written(path, folder) for path in unseen]
    material = Material(
        loaded.sections,
        loaded.held_out_sections,
        learn,
        has_template=has_template(models),
        notes=loaded.notes,
    )
    return _draft("sway init", named, source, loaded, material)


def for_document(path: str, name: str | None, folder: str) -> Draft:
    """The suite for a .dlm document and an adapter trained on it, for a file in `folder`.

    `name` chooses one of several adapters. Raises UsageError if there is no such adapter, and
    SpecError and CannotDecide like `dlm`.
    """
    from sway_gate.training_data import dlm

    path = os.path.abspath(os.path.expanduser(path))
    trained = dlm.adapter(path)
    chosen = _chosen(trained.adapters, name)
    ft = ModelRef(base=trained.base, adapter=trained.adapters[chosen])
    models = _pinned(Models(base=ModelRef(base=trained.base), ft=ft), trained.revision)
    loaded = with_data(Spec(models=models, suite=(), dlm_source=path, folder=folder))
    named = _models(models, folder, _in_store(trained.adapters[chosen]))
    memorize = ""
    if trained.epochs >= _MEMORIZE_EPOCHS:
        epochs = f"The document sets {trained.epochs} epochs"
        memorize = f"{epochs}: its answers are meant to be memorized."
    material = Material(loaded.sections, memorize=memorize, has_template=has_template(models))
    source = {"dlm_source": _written(path, folder)}
    return _draft("sway autogen", named, source, loaded, material)


def _chosen(adapters: Mapping[str, str], name: str | None) -> str:
    names = ", ".join(adapters)
    if name is None and len(adapters) > 1:
        raise UsageError(f"the document has several adapters; choose one with --adapter: {names}")
    if name is None:
        return next(iter(adapters))
    if name not in adapters:
        message = "the document has no trained adapter with that name"
        raise UsageError(f"--adapter {name}: {message}; it has {names or 'one without a name'}")
    return name


Fields = dict[str, Any]


def _draft(command: str, models: Fields, source: Fields, loaded: Spec, material: Material) -> Draft:
    chosen, learn = suite(material), wanted(material)
    entries = [found for found in chosen if isinstance(found, Entry)]
    left_out = tuple(found for found in chosen if isinstance(found, LeftOut))
    about = [
        f"Written by `{command}`. Keep it with the adapter and edit it freely.",
        "`sway gate` runs it, `sway gate --dry-run` shows its measurements, "
        "`sway explain KIND` describes a kind of probe.",
    ]
    taught = f"What training was meant to teach. {learn.learn}: {learn.reason}."
    parts = (
        comment(about) + block({"version": 1, "models": models}),
        comment(_about_data(material, loaded.notes)) + block(source),
        comment([taught]) + block({"defaults": {"learn": learn.learn}}),
        "suite:\n" + "".join(map(_entry, entries)) + _omissions(left_out),
    )
    text = "\n".join(parts)
    names = tuple(entry.fields["name"] for entry in entries)
    missing, few = _missing(loaded.models), few_rows(material)
    adapter = _local(loaded.models.ft.adapter or "", loaded.models.ft.adapter_revision)
    faults = tuple(file_verdicts(adapter)) if adapter else ()
    return Draft(text, names, left_out, described(material), missing, few, faults)


def _about_data(material: Material, notes: Sequence[str]) -> list[str]:
    about = ["The adapter's training data. Every `sway gate` reads it again."]
    if material.held_out:
        about.append("held_out: rows that training did not see.")
    return [*about, *notes, *(f"{note[0].upper()}{note[1:]}." for note in unjudged(material))]


def _entry(entry: Entry) -> str:
    question = (probes.module(entry.fields["kind"]).__doc__ or "").partition("\n")[0]
    return comment([question, *entry.remarks], 2) + block([entry.fields], 2) + "\n"


def _omissions(left_out: Sequence[LeftOut]) -> str:
    lines = [f"- {omitted.kind}: {omitted.reason}" for omitted in left_out]
    return comment(["Left out:", *lines], 2) if lines else ""


# --- models


def _models(models: Models, folder: str, adapter: str) -> Fields:
    path = _written(models.base.base, folder)
    base, ft = {"base": path}, {"base": path, "adapter": adapter}
    if models.base.revision:
        base["revision"] = models.base.revision
    if models.ft.adapter_revision:
        ft["adapter_revision"] = models.ft.adapter_revision
    return {"base": base, "ft": ft}


def _pinned(models: Models, revision: str | None) -> Models:
    """The models with the commits of their local snapshots; the base at `revision`."""
    base = msgspec.structs.replace(models.base, revision=_commit(models.base.base, revision))
    adapter_revision = _commit(models.ft.adapter or "", None)
    ft = msgspec.structs.replace(models.ft, adapter_revision=adapter_revision)
    return Models(base=base, ft=ft)


def _missing(models: Models) -> tuple[str, ...]:
    base, ft = models.base, models.ft
    named = ((base.base, base.revision), (ft.adapter or "", ft.adapter_revision))
    return tuple(ref for ref, revision in named if _local(ref, revision) is None)


def _local(ref: str, revision: str | None) -> Path | None:
    """Folder with a model's files; None if they are not on this machine."""
    try:
        return hub.local(ref, revision, online=False, what="model")
    except SwayError:
        return None


def _commit(ref: str, revision: str | None) -> str | None:
    """Commit of the local snapshot of `ref`; without one, `revision`. None for a folder."""
    if os.path.isdir(ref):
        return None
    folder = _local(ref, revision)
    return (hub.commit(folder) if folder else None) or revision


def _written(path: str, folder: str) -> str:
    """A hub id unchanged; a path relative to `folder`. Raises UsageError if it is not UTF-8."""
    if not os.path.exists(path):
        return path
    try:
        path.encode()
        found = Path(os.path.relpath(path, folder)).as_posix()
    except UnicodeEncodeError:
        raise UsageError(f"{path!a}: the file name is not valid UTF-8; rename the file") from None
    except ValueError:  # on another drive
        return Path(path).absolute().as_posix()
    return found if found.startswith("../") else f"./{found}"


def _in_store(path: str) -> str:
    """A path in dlm's store, relative to the home folder if possible: the suite can be moved."""
    home = os.path.expanduser("~")
    is_inside = os.path.isabs(home) and Path(path).is_relative_to(home)
    return f"~/{Path(path).relative_to(home).as_posix()}" if is_inside else Path(path).as_posix()
