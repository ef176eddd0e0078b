"""Where sway keeps what it has measured."""

import os
import sys
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """SWAY_CACHE_DIR, else XDG_CACHE_HOME, LOCALAPPDATA (Windows) or ~/.cache, else this user's temporary folder.

    SWAY_CACHE_DIR is taken as it is; the usual one only where it can be written. The folder may not exist yet, and
    a temporary one may be another user's work: the store looks whose it is.
    """
    if chosen := os.environ.get("SWAY_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    usual = next((root for root in _usual_roots() if root.is_absolute()), None)
    temporary = _temporary()
    if usual is not None and (temporary is None or _can_write(usual)):
        return usual / "sway-gate"
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "user")
    return (temporary or Path(os.sep)) / f"sway-gate-{user}"


def _temporary() -> Path | None:
    """The temporary folder. None where there is none but the current folder, which tempfile falls back to: that is the
    work tree, and nothing is written there."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None
    return None if folder == Path.cwd() else folder


def _usual_roots() -> list[Path]:
    roots = [os.environ.get("XDG_CACHE_HOME"), os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None]
    return [Path(root) for root in [*roots, os.path.expanduser("~/.cache")] if root]


def _can_write(folder: Path) -> bool:
    """Whether `folder`, or the nearest of its parents that exists, is a folder that can be written."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
