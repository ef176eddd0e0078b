"""Writes a new version into every place that names the current one: ``python tools/bump_version.py 0.2.0``.

CHANGELOG.md must tell what is new under ``## Unreleased``; that heading becomes the version's.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "sway_gate/version.py"
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "## Unreleased\n"
NAMING = (
    PACKAGE,
    ".pre-commit-hooks.yaml",
    "action.yml",
    "Dockerfile",
    "README.md",
    "docs/**/*.md",
    "examples/**/*",
)
VERSION = r"\d+\.\d+\.\d+"
# The version itself, an image's tag, the action's ref, what pip is asked for, a hook's rev.
PLACES = re.compile(
    rf"""(__version__\ =\ "
      |  ghcr\.io/sway-gate/sway-gate:
      |  sway-gate/sway-gate@v
      |  sway-gate(?:\[[\w,]+\])?==
      |  repo:\ https://github\.com/sway-gate/sway-gate\n\ +rev:\ v
      )({VERSION})""",
    re.VERBOSE,
)


def files(root: Path) -> list[Path]:
    """Those that may name the version."""
    return [path for pattern in NAMING for path in sorted(root.glob(pattern)) if path.is_file()]


def places(root: Path) -> Iterator[tuple[str, str]]:
    """(file:line, version) of every place."""
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        for match in PLACES.finditer(text):
            line = text.count("\n", 0, match.end()) + 1
            yield f"{path.relative_to(root).as_posix()}:{line}", match[2]


def bump(root: Path, version: str) -> list[str]:
    """Write `version` into every place; the places. Raises ValueError where it is none, or CHANGELOG.md is silent."""
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"{version!r} is no version of the form 1.2.3")
    changelog = root / CHANGELOG
    changes = changelog.read_text(encoding="utf-8")
    if UNRELEASED not in changes:
        raise ValueError(f"{CHANGELOG} has no {UNRELEASED.strip()!r}: tell there what is new")
    written = [place for place, _ in places(root)]
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            PLACES.sub(lambda match: match[1] + version, text), encoding="utf-8", newline="\n"
        )
    changelog.write_text(
        changes.replace(UNRELEASED, f"## {version}\n", 1), encoding="utf-8", newline="\n"
    )
    return written


if __name__ == "__main__":
    try:
        print(*bump(ROOT, sys.argv[1]), sep="\n")
    except (IndexError, ValueError) as error:
        sys.exit(f"usage: bump_version.py X.Y.Z: {error}")
