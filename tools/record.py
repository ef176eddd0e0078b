"""Record the current outputs of the commands to tests/recorded/outputs.

    python -m tools.record [GROUP …]

Run it if a change of the outputs is intended, and read the difference before you commit it.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: the thread count changes sums

from tests import recorded
from tests.recorded import comparing


def write(name: str) -> int:
    """Record a group; return its number of files."""
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
        groups = ", ".join(recorded.GROUPS)
        sys.exit(f"unknown group: {', '.join(sorted(unknown))}; must be one of {groups}")
    for name in names or recorded.GROUPS:
        print(f"{name}: {write(name)} files", flush=True)
    machine = json.dumps(comparing.machine(), indent=1) + "\n"
    recorded.MACHINE.write_text(machine, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
