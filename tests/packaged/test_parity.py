"""All entry points give the same verdict: gate on the PATH, hooks, action, image."""

import json
import shutil

import pytest

from sway_gate import __version__, demo
from tests.container.conftest import context, engine, image  # noqa: F401
from tests.container.docker import report
from tests.packaged import kit
from tests.packaged.github import NEEDS_BASH, artifact, workflow

REV = f"v{__version__}"
SPEC = "healthy.sway.yaml"
# The C library of the image can round differently. The z of a section divides by the spread of its
# null adapters, which enlarges the difference: 2e-6 between an image and its host.
TOLERANCE = 1e-5
VARYING = ("timing", "versions", "cached")
"""Fields that differ between two runs of the same gate."""


@pytest.fixture(scope="module")
def team(tmp_path_factory, world):
    """A repository with the demo: its base, its adapters and a spec with many kinds of probes."""
    folder = tmp_path_factory.mktemp("parity") / "team"
    shutil.copytree(demo.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    folder.chmod(0o755)
    kit.git_init(folder, world, commit=False)
    return folder


def by_hook(name, team, world, checkout):
    """The JSON report of a hook that pre-commit runs."""
    target = team.parent / f"{name}.json"
    arguments = f"[{SPEC}, --tier, full, --json, {target.as_posix()}, --no-cache]"
    kit.configure(team, f"{{id: {name}, args: {arguments}}}", repo=checkout, rev=REV)
    kit.run("git", "add", "--all", cwd=team, env=world)
    kit.run("pre-commit", "run", name, "--files", SPEC, cwd=team, env=world)
    return json.loads(target.read_text(encoding="utf-8"))


def by_action(team, runner, store):
    """The JSON report of the action.

    The cached verdicts of other tests are removed: their batches had other lengths.
    """
    for kept in (store / "caches").glob("sway-gate-verdicts-*"):
        shutil.rmtree(kept)
    runner(team, workflow(spec=SPEC))
    return json.loads(artifact(store))


WAYS = {
    "isolated venv": lambda get: by_hook(
        "sway-gate-isolated", get("team"), get("world"), get("checkout")
    ),
    "container": lambda get: report(get("image"), get("team"), SPEC),
    "action": pytest.param(
        lambda get: by_action(get("team"), get("runner"), get("store")), marks=NEEDS_BASH
    ),
}


@pytest.fixture(scope="module")
def on_path(team, world, checkout):
    return by_hook("sway-gate", team, world, checkout)


def leaves(value, path=""):
    """(path, value) of each number, string, boolean and null in a JSON value."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, value


def facts(found):
    """Values of a report by path, without VARYING; file paths are relative to the repository."""
    kept = {key: value for key, value in found.items() if key not in VARYING}
    root = found["base"]["path"].removesuffix("/model")
    return dict(leaves(json.loads(json.dumps(kept).replace(root, ""))))


def close(value):
    """A number within the tolerance; any other value must be equal."""
    if isinstance(value, float):
        return pytest.approx(value, abs=TOLERANCE, rel=TOLERANCE)
    return value


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_parity(request, on_path, way):
    there, here = facts(way(request.getfixturevalue)), facts(on_path)
    assert here["/verdict"] == "pass"
    assert there == {path: close(value) for path, value in here.items()}
