"""The files that a commit or a push deletes. pre-commit does not pass them to hooks."""

import os
import subprocess
from pathlib import Path
from typing import Final

from sway_gate.cache import work_tree

_DIFF: Final = (
    *("git", "-c", "core.fsmonitor=false", "diff", "--name-only", "-z", "--relative"),
    *("--no-ext-diff", "--no-renames", "--diff-filter=D"),
)
"""Compares only git's own objects: it runs no program that a configuration names."""
_SECONDS: Final = 60


def deleted_files() -> list[str] | None:
    """The deleted files below the current folder, of the push or otherwise of the index.

    None if this is a git repository and git cannot list them.
    """
    if work_tree(Path.cwd()) is None:
        return []
    ends = [os.environ.get(f"PRE_COMMIT_{end}_REF", "") for end in ("FROM", "TO")]
    what = ["--end-of-options", "...".join(ends), "--"] if all(ends) else ["--cached"]
    try:
        listed = subprocess.run(
            [*_DIFF, *what], capture_output=True, timeout=_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]
