"""Set the version in every file that contains it: ``python tools/bump_version.py 0.2.0``.

CHANGELOG.md must have a section ``## Unreleased``; its heading becomes the version.
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
WEIGHTS = ".safetensors"
VERSION = r"\d+\.\d+\.\d+"
# The version itself, an image's tag, the action's ref, a requirement of pip, a hook's rev.
OCCURRENCE = re.compile(
    rf"""(__version__\ =\ "
      |  ghcr\.io/[\w.-]+/sway-gate:
      |  [\w.-]+/sway-gate@v
      |  sway-gate(?:\[[\w,]+\])?==
      |  repo:\ https://github\.com/[\w.-]+/sway-gate\n\ +rev:\ v
      )({VERSION})""",
    re.VERBOSE,
)


def files(root: Path) -> list[Path]:
    """The files that may contain the version."""
    found = [path for pattern in NAMING for path in sorted(root.glob(pattern))]
    return [path for path in found if path.is_file() and path.suffix != WEIGHTS]


def versions(root: Path) -> Iterator[tuple[str, str]]:
    """(file:line, version) of every occurrence of a version."""
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        for match in OCCURRENCE.finditer(text):
            line = text.count("\n", 0, match.end()) + 1
            yield f"{path.relative_to(root).as_posix()}:{line}", match[2]


def bump(root: Path, version: str) -> list[str]:
    """Write `version` to every file that contains the version; return each file:line.

    Raises ValueError if it is not a version, or if CHANGELOG.md has no unreleased changes.
    """
    if not re.fullmatch(VERSION, version):
        raise ValueError(f"{version!r} is not a version of the form 1.2.3")
    changelog = root / CHANGELOG
    changes = changelog.read_text(encoding="utf-8")
    if UNRELEASED not in changes:
        raise ValueError(
            f"{CHANGELOG} has no section {UNRELEASED.strip()!r}; list the changes there"
        )
    written = [position for position, _ in versions(root)]
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            OCCURRENCE.sub(lambda match: match[1] + version, text), encoding="utf-8", newline="\n"
        )
    changelog.write_text(
        changes.replace(UNRELEASED, f"## {version}\n", 1), encoding="utf-8", newline="\n"
    )
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bump_version.py X.Y.Z")
    try:
        print(*bump(ROOT, sys.argv[1]), sep="\n")
    except ValueError as error:
        sys.exit(f"error: {error}")
