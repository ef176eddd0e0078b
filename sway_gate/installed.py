"""Versions of installed packages, without importlib.metadata if possible.

importlib.metadata imports the email package, which takes a fifth of the time of a cached verdict.
"""

import os
import re
import sys


def version_of(package: str) -> str | None:
    """The version of an installed package; None if it is not installed.

    The folder NAME-VERSION.dist-info states it. Other forms of installation are left to
    importlib.metadata.
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            stem, suffix = os.path.splitext(name)
            distribution, _, version = stem.partition("-")
            if suffix == ".dist-info" and _plain(distribution) == _plain(package):
                return version
    return _of_metadata(package)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_metadata(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
