"""The checks of a marked function."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sway_gate import probes
from sway_gate.errors import UsageError
from sway_gate.gate.arguments import check_categories, checked_threshold, checked_weights
from sway_gate.pytest_plugin._names import SHARED_FOLDER, SIGNATURE
from sway_gate.pytest_plugin.checks import Check
from sway_gate.pytest_plugin.suite import Suite
from sway_gate.spec.load import load_spec

GATE = "__gate__"
_RIVAL = "sway"  # the name of dlm-sway's plugin
_SUITES = pytest.StashKey[dict[str, Suite]]()


def params(metafunc: pytest.Metafunc, marks: Sequence[pytest.Mark]) -> list[Any]:
    """One parameter per check: each probe of each mark's spec, and the whole verdict.

    Raises UsageError if a mark is wrong and SpecError if a spec is wrong.
    """
    file, line, _ = metafunc.definition.location
    where = f"{file}:{(line or 0) + 1}: @pytest.mark.sway"
    if metafunc.config.pluginmanager.hasplugin(_RIVAL):
        raise UsageError(
            f"{where}: dlm-sway's plugin handles this mark too;"
            " disable one of them with -p no:sway or -p no:sway_gate"
        )
    return [param for mark in marks for param in _params(metafunc, mark, len(marks), where)]


def _params(metafunc: pytest.Metafunc, mark: pytest.Mark, marks: int, where: str) -> Iterator[Any]:
    path, threshold, weights = _arguments(mark, where)
    suite = _suite(metafunc, path, where)
    check_categories(suite.spec, weights, f"{where}: weights")
    prefix = f"{Path(path).as_posix()}-" if marks > 1 else ""
    for probe in suite.probes:
        name = f"{prefix}{probes.module(probe.kind).KIND.category}-{probe.name}"
        yield pytest.param(Check(suite, probe, threshold, weights, marks), id=name)
    yield pytest.param(Check(suite, None, threshold, weights, marks), id=prefix + GATE)


class _Arguments(NamedTuple):
    spec: Any
    threshold: Any = None
    weights: Any = None


def _arguments(mark: pytest.Mark, where: str) -> tuple[str, float | None, dict[str, float]]:
    """The mark's spec, threshold and weights. Raises UsageError if one of them is wrong."""
    try:
        path, threshold, weights = _Arguments(*mark.args, **mark.kwargs)
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).partition('() ')[2]}; it is {SIGNATURE}") from None
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UsageError(f"{where}: spec must be a path, got {path!r}")
    return (
        os.fspath(path),
        checked_threshold(threshold, f"{where}: threshold"),
        checked_weights(weights, f"{where}: weights"),
    )


def _suite(metafunc: pytest.Metafunc, path: str, where: str) -> Suite:
    """The session's suite of a spec, in the folder of the test's file or in the root folder."""
    config = metafunc.config
    roots = dict.fromkeys((metafunc.definition.path.parent, config.rootpath))
    found = next((os.path.abspath(root / path) for root in roots if (root / path).exists()), None)
    if found is None:
        raise UsageError(f"{where}: {path} does not exist in {' or '.join(map(str, roots))}")
    suites = config.stash.setdefault(_SUITES, {})
    if found not in suites:
        folder = getattr(config, "workerinput", {}).get(SHARED_FOLDER)
        name = hashlib.sha256(found.encode(errors="surrogatepass")).hexdigest()
        suites[found] = Suite(load_spec(_label(found)), Path(folder, name) if folder else None)
    return suites[found]


def _label(path: str) -> str:
    """The path relative to the current folder, if it is in it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
