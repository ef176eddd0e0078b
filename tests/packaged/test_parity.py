"""One verdict, whichever way it is asked for: what the gate on the PATH measures, all others measure too."""

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
TOLERANCE = 1e-6
ASIDE = ("timing", "versions", "cached")
"""What two runs of one gate do not share."""


@pytest.fixture(scope="module")
def team(tmp_path_factory, world):
    """A repository with the demo's base, a healthy adapter and a spec of all sorts of probes."""
    folder = tmp_path_factory.mktemp("parity") / "team"
    shutil.copytree(demo.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    folder.chmod(0o755)
    kit.git_init(folder, world, commit=False)
    return folder


def by_hook(name, team, world, checkout):
    """The JSON report of one of the hooks, through pre-commit."""
    target = team.parent / f"{name}.json"
    arguments = f"[{SPEC}, --json, {target.as_posix()}, --no-cache]"
    kit.configure(team, f"{{id: {name}, args: {arguments}}}", repo=checkout, rev=REV)
    kit.run("git", "add", "--all", cwd=team, env=world)
    kit.run("pre-commit", "run", name, "--all-files", cwd=team, env=world)
    return json.loads(target.read_text(encoding="utf-8"))


def by_action(team, runner, store):
    """What other tests measured is no part of this: it would come from batches of other lengths."""
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


def leaves(value, place=""):
    """(place, value) of everything in a JSON value that holds nothing more."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{place}/{key}")
    else:
        yield place, value


def facts(found):
    """What a report says by place, with paths from the repository on, wherever that was checked out."""
    kept = {key: value for key, value in found.items() if key not in ASIDE}
    root = found["base"]["path"].removesuffix("/model")
    return dict(leaves(json.loads(json.dumps(kept).replace(root, ""))))


def close(value):
    return pytest.approx(value, abs=TOLERANCE, rel=TOLERANCE)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_parity(request, on_path, way):
    there, here = facts(way(request.getfixturevalue)), facts(on_path)
    assert here["/verdict"] == "pass"
    assert there == {
        place: close(value) if isinstance(value, float) else value for place, value in here.items()
    }
