"""From the marks of a function to its checks."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sway_gate import probes
from sway_gate.errors import UsageError
from sway_gate.pytest_plugin._names import SHARED_FOLDER, SIGNATURE
from sway_gate.pytest_plugin.checks import Check
from sway_gate.pytest_plugin.suite import Suite
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import SCORE_WEIGHTS

GATE = "__gate__"
_RIVAL = "sway"  # the name of dlm-sway's plugin
_SUITES = pytest.StashKey[dict[str, Suite]]()


def params(metafunc: pytest.Metafunc, marks: Sequence[pytest.Mark]) -> list[Any]:
    """A check of each probe of each mark's spec, and of its gate, with their ids. Raises UsageError for a mark that is
    none, SpecError for a spec."""
    file, line, _ = metafunc.definition.location
    where = f"{file}:{(line or 0) + 1}: @pytest.mark.sway"
    if metafunc.config.pluginmanager.hasplugin(_RIVAL):
        raise UsageError(
            f"{where}: dlm-sway's plugin serves this mark too; choose one: -p no:sway or -p no:sway_gate"
        )
    return [param for mark in marks for param in _params(metafunc, mark, len(marks), where)]


def _params(metafunc: pytest.Metafunc, mark: pytest.Mark, marks: int, where: str) -> Iterator[Any]:
    path, threshold, weights = _arguments(mark, where)
    suite = _suite(metafunc, path, where)
    if weights and not any({**suite.spec.defaults.score_weights, **weights}.values()):
        raise UsageError(f"{where}: weights must leave at least one category a positive weight")
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
    """The mark's spec, threshold and weights. Raises UsageError where they are none."""
    try:
        path, threshold, weights = _Arguments(*mark.args, **mark.kwargs)
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).partition('() ')[2]}; it is {SIGNATURE}") from None
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UsageError(f"{where}: spec must be a path, got {path!r}")
    if threshold is not None and not (_is_number(threshold) and 0 <= threshold <= 1):
        raise UsageError(f"{where}: threshold must be a number from 0 to 1, got {threshold!r}")
    return os.fspath(path), threshold, _weights({} if weights is None else weights, where)


def _weights(given: Any, where: str) -> dict[str, float]:
    if not isinstance(given, Mapping) or not all(
        name in SCORE_WEIGHTS and _is_number(weight) and 0 <= weight < math.inf
        for name, weight in given.items()
    ):
        raise UsageError(
            f"{where}: weights must map {', '.join(SCORE_WEIGHTS)} to numbers of 0 or more, got {given!r}"
        )
    return dict(given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _suite(metafunc: pytest.Metafunc, path: str, where: str) -> Suite:
    """The session's suite of a spec: beside the test's file, else in the root folder."""
    config = metafunc.config
    roots = dict.fromkeys((metafunc.definition.path.parent, config.rootpath))
    found = next((os.path.abspath(root / path) for root in roots if (root / path).exists()), None)
    if found is None:
        raise UsageError(f"{where}: there is no {path} in {' or '.join(map(str, roots))}")
    suites = config.stash.setdefault(_SUITES, {})
    if found not in suites:
        folder = getattr(config, "workerinput", {}).get(SHARED_FOLDER)
        name = hashlib.sha256(found.encode(errors="surrogatepass")).hexdigest()
        suites[found] = Suite(load_spec(_label(found)), Path(folder, name) if folder else None)
    return suites[found]


def _label(path: str) -> str:
    """As a person in the current folder names it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
