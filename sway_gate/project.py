"""Names of the project's repository and image. `python -m tools.names` writes them to all files."""

from typing import Final

from sway_gate.version import __version__

OWNER: Final = "sway-gate"
"""The account of the repository and of the image."""
REPOSITORY: Final = f"https://github.com/{OWNER}/sway-gate"
IMAGE: Final = f"ghcr.io/{OWNER}/sway-gate"
ACTION: Final = f"{OWNER}/sway-gate@v{__version__}"
DOCS: Final = f"{REPOSITORY}/blob/v{__version__}/docs"
"""Pages of this version, as `DOCS/diagnoses.md#forgot`."""
