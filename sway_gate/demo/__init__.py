"""The packaged demo: a tiny model, an adapter that learned a document, and one that did not."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
MODEL = FOLDER / "model"
HEALTHY = FOLDER / "healthy"
UNTRAINED = FOLDER / "untrained"


def specs() -> tuple[tuple[str, str], ...]:
    """Title and path of each demo spec; the first one passes."""
    titles = (("a healthy adapter", HEALTHY), ("an adapter that learned nothing", UNTRAINED))
    return tuple((title, str(FOLDER / f"{adapter.name}.sway.yaml")) for title, adapter in titles)
