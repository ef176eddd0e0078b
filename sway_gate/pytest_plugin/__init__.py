"""pytest plugin: `@pytest.mark.sway(spec="sway.yaml")` makes one test per probe, and `__gate__`.

A marked function is parametrized with a `Check` per probe and one for the whole verdict. The
selected tests (`-k` and so on) determine which probes are measured. Each spec is measured once,
when its first check is set up. See docs/pytest.md.

Every pytest session in an environment with sway-gate loads this module, so it imports little until
a test is marked.
"""

import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from sway_gate.errors import SwayError
from sway_gate.pytest_plugin._names import SHARED_FOLDER, SIGNATURE

if TYPE_CHECKING:
    from sway_gate.pytest_plugin.checks import Answer, Check
    from sway_gate.results import GateResult

_PARAMETER = "_sway_check"
_MISPLACED = (
    "@pytest.mark.sway was not applied at collection: set it on functions, classes and modules, "
    "not on methods of unittest.TestCase, in pytest.param or in hooks"
)
_ANSWER: "pytest.StashKey[Answer]" = pytest.StashKey()
_MESSAGE = pytest.StashKey[str]()
_FOLDER = pytest.StashKey[str]()


class SwayWarning(UserWarning):
    """A probe is inconclusive."""


# Collection


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{SIGNATURE}: one test per probe of a spec, and __gate__ for the whole verdict"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = list(metafunc.definition.iter_markers("sway"))
    if not marks:
        return
    from sway_gate.pytest_plugin.marks import params
    from sway_gate.text import clean

    try:
        found = params(metafunc, marks)
    except SwayError as error:
        from _pytest.skipping import evaluate_skip_marks

        # The adapter of a skipped test might not exist.
        if evaluate_skip_marks(metafunc.definition):
            return
        raise pytest.fail.Exception(clean(str(error)), pytrace=False) from None
    metafunc.fixturenames.append(_PARAMETER)
    metafunc.parametrize(_PARAMETER, found)


def pytest_itemcollected(item: pytest.Item) -> None:
    if (check := _check(item)) and check.probe:
        item.extra_keyword_matches.add(check.probe.kind)


def pytest_collection_finish(session: pytest.Session) -> None:
    for check in filter(None, map(_check, session.items)):
        check.suite.required.update(
            probe.name for probe in ([check.probe] if check.probe else check.suite.probes)
        )


def _check(item: pytest.Item) -> "Check | None":
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(_PARAMETER) if callspec else None


# Running


@pytest.fixture
def sway_result(request: pytest.FixtureRequest) -> "GateResult":
    """The result of the marked test's spec."""
    check = _check(request.node)
    if check is None:
        pytest.fail("sway_result requires @pytest.mark.sway on the test", pytrace=False)
    result = check.result()
    return _fail(request.node, result) if isinstance(result, str) else result


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run the check after the test's own fixtures, which can skip it. A failure is an error."""
    check = _check(item)
    if len(list(item.iter_markers("sway"))) != (check.marks if check else 0):
        pytest.fail(_MISPLACED, pytrace=False)
    if check is None or item.config.getoption("setuponly", False):
        return
    item.stash[_ANSWER] = found = check.answer()
    item.user_properties += [("verdict", found.verdict), *found.numbers.items()]
    if found.verdict == "error":
        _fail(item, found.text)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Report the verdict instead of running the body; the body of `__gate__` runs after it."""
    check = _check(pyfuncitem)
    if check is None:
        return None
    found = pyfuncitem.stash[_ANSWER]
    if found.verdict == "fail":
        _fail(pyfuncitem, found.text)
    if found.verdict in ("skip", "waived"):
        pyfuncitem.stash[_MESSAGE] = found.text
        pytest.skip(found.text)
    if found.verdict == "warn" and not _warn(found.text, *check.place):
        _fail(pyfuncitem, found.text)
    return None if check.probe is None else True


def _fail(item: pytest.Item, text: str) -> NoReturn:
    item.stash[_MESSAGE] = text
    pytest.fail(text, pytrace=False)


def _warn(text: str, file: str, line: int) -> bool:
    """Issue a warning. False if warnings are errors."""
    try:
        warnings.warn_explicit(text, SwayWarning, file, line)
    except SwayWarning:
        return False
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure point to the line of the spec, instead of a line in this module."""
    report = yield
    check, message = _check(item), item.stash.get(_MESSAGE, None)
    if check and call.excinfo and str(call.excinfo.value) == message:
        file, line = check.place
        if isinstance(report.longrepr, tuple):
            report.longrepr = (file, line, f"Skipped: {message}")
        elif crash := getattr(report.longrepr, "reprcrash", None):
            crash.path, crash.lineno, crash.message = file, line, message
    return report


# Workers of pytest-xdist


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    stash = node.config.stash
    with suppress(OSError):  # without a temporary folder each worker measures on its own
        if _FOLDER not in stash:
            stash[_FOLDER] = tempfile.mkdtemp(prefix="sway-gate-")
        node.workerinput[SHARED_FOLDER] = stash[_FOLDER]


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        shutil.rmtree(folder, ignore_errors=True)
