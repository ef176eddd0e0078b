"""Confinement: the folder in which all files of a run must lie, after links are resolved."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sway_gate.errors import SpecError, UsageError
from sway_gate.model_files import hub
from sway_gate.spec import WAIVERS
from sway_gate.spec.probes import embedding_models
from sway_gate.spec.schema import OF_FILES, Spec
from sway_gate.text import one_line


def check_files(files: Mapping[str, Sequence[str | None]], folder: str | None) -> None:
    """Raise UsageError if one of the files (option -> paths) lies outside `folder`."""
    if problems := list(_problems(files, folder)):
        raise UsageError("\n".join(problems))


def check_waivers(path: str, folder: str | None) -> None:
    """Raise UsageError if the file WAIVERS at `path` exists and lies outside `folder`."""
    check_files({WAIVERS: [path] if os.path.lexists(path) else []}, folder)


def check_spec(spec: Spec, folder: str | None) -> None:
    """Raise SpecError with every field of a loaded spec that names a file outside `folder`."""
    if problems := list(_problems(_files(spec), folder)):
        raise SpecError([f"{spec.label}: {problem}" for problem in problems])


def check_network(spec: Spec, folder: str | None, *, online: bool) -> None:
    """Raise UsageError if a confined run would send texts and a key to a server of the spec."""
    if folder is not None and spec.models.is_api and not online:
        raise UsageError(
            f"{spec.label}: kind: api sends texts and a key to the server that it names; "
            "with --confine, add --online to allow it"
        )


def check_targets(targets: Mapping[str, str | None], folder: str | None) -> None:
    """Raise UsageError if a link leads from a file in `folder` (option -> path) out of it."""
    own = os.path.abspath(folder or "")
    places = {option: Path(os.path.abspath(path)) for option, path in targets.items() if path}
    named = {option: [str(p)] for option, p in places.items() if p.is_relative_to(own)}
    check_files(named, folder)


def _files(spec: Spec) -> dict[str, Sequence[str | None]]:
    base, ft = spec.models.base, spec.models.ft
    models = {"base": (base.base, ft.base), "adapter": (ft.adapter,)}
    return {
        **(models if ft.kind in OF_FILES else {}),
        "tokenizer": (base.tokenizer, ft.tokenizer),
        "data": spec.data,
        "held_out": spec.held_out,
        "dlm_source": (spec.dlm_source,),
        "embedding_model": [m for probe in spec.suite for m in embedding_models(probe).values()],
    }


def _problems(files: Mapping[str, Sequence[str | None]], folder: str | None) -> Iterator[str]:
    if folder is None:
        return
    if not os.path.isdir(folder):
        raise UsageError(f"--confine {folder}: no such folder; give the folder of the repository")
    for field, paths in files.items():
        for path in dict.fromkeys(paths):
            is_on_hub = path and hub.is_hub_id(path) and not os.path.lexists(path)
            if path and not is_on_hub and (outside := _outside(path, folder)):
                where = f"{one_line(outside)} leads out of {folder} (--confine) or into its .git"
                what = "give the hub id of the model" if field == "base" else "move the file"
                yield f"{field}: {where}; {what}, or confine to another folder"


def _outside(path: str, folder: str) -> str:
    """`path`, or a link in it, that leads out of `folder`; "" if there is none.

    Readers use the files of a folder and of its folders.
    """
    places = (path, *_links(path, levels=2))
    return next((place for place in places if not _is_inside(place, folder)), "")


def _links(path: str, levels: int) -> Iterator[str]:
    """The links in a folder and, down to `levels`, in its visible folders."""
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:  # a file, or a hub id
        return
    for entry in found:
        if entry.is_symlink():
            yield entry.path
        if levels > 1 and entry.is_dir() and not entry.name.startswith("."):
            yield from _links(entry.path, levels - 1)


def _is_inside(path: str, folder: str) -> bool:
    """Whether `path` lies in `folder`, but not in a .git, or in a hub cache."""
    real = Path(os.path.realpath(os.path.expanduser(path)))
    own = Path(os.path.realpath(folder))
    if real.is_relative_to(own):
        return ".git" not in map(str.lower, real.relative_to(own).parts)
    return any(real.is_relative_to(os.path.realpath(place)) for place in hub.folders())
