"""Write the owner of the repository and of the image, in sway_gate/project.py, to all files.

Run this tool after you move the project to another account.
"""

import re
from pathlib import Path

from sway_gate.project import OWNER
from tools import bump_version

ALSO = ("*.md", "pyproject.toml", "mkdocs.yml", ".github/**/*.yml", "sway_gate/**/*.j2")
"""Files that name the owner, in addition to the files that name the version."""
# The address of the repository, the image, the action in a workflow.
OCCURRENCE = re.compile(r"(github\.com/|ghcr\.io/|uses: )[\w.-]+(?=/sway-gate\b)")


def changed(root: Path, owner: str) -> dict[Path, str]:
    """New text of each file that names another owner."""
    found = {path for pattern in ALSO for path in root.glob(pattern)}
    paths = sorted(found.union(bump_version.files(root)))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    new = {path: OCCURRENCE.sub(rf"\g<1>{owner}", text) for path, text in texts.items()}
    return {path: text for path, text in new.items() if text != texts[path]}


def main() -> None:
    for path, text in changed(bump_version.ROOT, OWNER).items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path.relative_to(bump_version.ROOT).as_posix())


if __name__ == "__main__":
    main()
