"""Versions of installed packages, without importlib.metadata if possible, and the own code.

importlib.metadata imports the email package, which takes a fifth of the time of a cached verdict.
"""

import hashlib
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".dist-info"
PACKAGE: Final = Path(__file__).parent


def version_of(package: str) -> str | None:
    """The version of an installed package; None if it is not installed.

    The folder NAME-VERSION.dist-info states it. Other forms of installation are left to
    importlib.metadata.
    """
    name = _plain(package)
    for folder in sys.path:
        if version := _stated(folder).get(name):
            return version
    return _of_metadata(package)


@cache
def _stated(folder: str) -> dict[str, str]:
    """The versions that the names of a folder's .dist-info folders state."""
    try:
        names = os.listdir(folder or ".")
    except OSError:
        return {}
    stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    parts = (stem.partition("-") for stem in stems)
    return {_plain(distribution): version for distribution, _, version in parts}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_metadata(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def code_digest(folder: Path = PACKAGE) -> str:
    """A digest of the modules of this package, or of one of its folders.

    Two checkouts of one version can differ.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(code)}\n".encode() + code)
    return digest.hexdigest()
