"""Paths in a spec: relative to its folder, then to the current folder; never a network share."""

import os
import re
from typing import Final

from sway_gate.files import did_you_mean
from sway_gate.spec.yaml_nodes import shown

MAX_SHOWN: Final = 200
"""Maximum length of a path in messages, in characters."""
ON_A_SHARE: Final = "is a network path; copy it to this machine"


def several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """The values of a field that takes one text or a list of texts."""
    return (value,) if isinstance(value, str) else value


def find(written: str, folder: str, notes: list[str], *, hub: bool) -> tuple[str, str]:
    """(absolute path, "") if the path exists; (hub id, "") if `hub` is set and it does not exist;
    otherwise (expected path, what is wrong).

    The spec's folder comes before the current one. Only a folder hides a hub id of the same name.
    """
    if is_share(written):
        return written, f"{shown(written)} {ON_A_SHARE}"
    path = os.path.expanduser(written)
    places = list(dict.fromkeys(os.path.abspath(place) for place in (folder, os.getcwd())))
    exists = os.path.isdir if hub else os.path.exists
    for place in places:
        candidate = os.path.abspath(os.path.join(place, path))
        if exists(candidate):
            if place != places[0]:
                notes.append(
                    f"{shown(written, MAX_SHOWN)} was found in the current folder,"
                    f" not in the folder of the spec: {candidate}"
                )
            return candidate, ""
    if hub:
        return written, ""
    looked = "" if os.path.isabs(path) else f" (looked in {' and '.join(places)})"
    wrong = f"{shown(written, MAX_SHOWN)} does not exist{looked}"
    expected = os.path.normpath(os.path.join(places[0], path))
    near = did_you_mean(expected)
    return expected, f"{wrong}; {near}" if near else wrong


def is_share(path: str) -> bool:
    """Whether `path` is a network share; opening one makes Windows send the user's credentials."""
    return path.startswith("\\\\") or (os.name == "nt" and re.match(r"[\\/]{2}", path) is not None)
