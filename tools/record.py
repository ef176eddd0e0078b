"""Writes tests/recorded/outputs anew, by what the commands say and judge now.

    python -m tools.record [GROUP …]

Run it where a change of what `tests/test_recorded.py` compares is wanted, and look at the
difference before it is committed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: sums depend on it

from tests import recorded
from tests.recorded import comparing


def write(name: str) -> int:
    """Record a group; how many files it has."""
    with tempfile.TemporaryDirectory() as folder:
        made = recorded.produced(name, Path(folder).resolve())
    target = recorded.OUTPUTS / name
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        path.unlink()
    for file, text in made.items():
        (target / file).write_text(text, encoding="utf-8", newline="\n")
    return len(made)


def main(names: list[str]) -> None:
    if unknown := set(names) - recorded.GROUPS.keys():
        sys.exit(
            f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(recorded.GROUPS)}"
        )
    for name in names or recorded.GROUPS:
        print(f"{name}: {write(name)} files", flush=True)
    machine = json.dumps(comparing.machine(), indent=1) + "\n"
    recorded.MACHINE.write_text(machine, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
