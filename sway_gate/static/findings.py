"""Findings about an adapter's files, their remedies, and short forms of long lists of names."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sway_gate.files import NotRegular
from sway_gate.results import Finding
from sway_gate.text import cut

DOWNLOAD = "download or copy the file again"
SAVE_AGAIN = "save the adapter again with save_pretrained()"
MATCHING = "use the config and the weights of the same save_pretrained() call"
LFS = b"version https://git-lfs"


def finding(level: str, id: str, path: str | Path, message: str, remedy: str = "") -> Finding:
    return Finding(id=id, level=level, message=message, remedy=remedy, path=str(path))


def broken(id: str, path: str | Path, message: str, remedy: str) -> Finding:
    return finding("broken", id, path, message, remedy)


def unreadable(here: Path, error: OSError) -> Finding:
    remedy = "put a copy of the file there" if isinstance(error, NotRegular) else "make it readable"
    message = f"cannot be read: {error.strerror}"
    return broken("unreadable", error.filename or here, message, remedy)


def finding_line(found: Finding) -> str:
    """A finding as one line of an error message."""
    remedy = f"; {found.remedy}" if found.remedy else ""
    return f"{found.path}: {found.message}{remedy}"


class Fatal(Exception):
    """A fault that makes one of the files unusable. `finding` describes it."""

    def __init__(self, id: str, path: str | Path, message: str, remedy: str) -> None:
        super().__init__(message)
        self.finding = broken(id, path, message, remedy)


def refuse_pointer(id: str, path: Path, start: bytes) -> None:
    """Raise `Fatal` if `start`, the first bytes of the file, is the start of a Git LFS pointer."""
    if start.startswith(LFS):
        message = f"{path.name} is a Git LFS pointer; its content was not downloaded"
        raise Fatal(id, path, message, "run `git lfs pull` in the repository")


def quote(text: str) -> str:
    """`text` in quotes, on one line, cut to 120 characters; unprintable characters are escaped."""
    return repr(cut(text, 120))


def some(names: Iterable[str], of: int = 3) -> str:
    """The first `of` names in quotes, and the number of the others."""
    listed = list(names)
    first = ", ".join(map(quote, listed[:of]))
    return f"{first} and {len(listed) - of} more" if len(listed) > of else first


def compact(modules: Iterable[str]) -> str:
    """Module names with the layer numbers merged: ``'model.layers.{0-3,7}.mlp.up_proj'``."""
    families: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name in modules:
        head, layer, tail = split_at_layer(name)
        layers = families[head, tail]
        if layer is not None:
            layers.add(layer)
    folded = []
    for (head, tail), layers in families.items():
        folded.append(f"{head}{{{_ranges(sorted(layers))}}}{tail}" if layers else head)
    return some(folded)


def split_at_layer(module: str) -> tuple[str, int | None, str]:
    """The text before the layer index, the index and the text after it.

    The index is the first dotted part that is a number; without one: (module, None, "").
    """
    if match := re.search(r"(?:^|(?<=\.))[0-9]{1,9}(?=\.|$)", module):
        return module[: match.start()], int(match[0]), module[match.end() :]
    return module, None, ""


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
