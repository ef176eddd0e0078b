"""A fleet on a real Ray cluster of two machines, one of which is killed in the middle."""

import json
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli, demo
from sway_gate.fleet import ray_pool
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.spec.load import load_spec
from tests.docs.test_commands import commands, is_shown
from tests.helpers import ROOT
from tests.helpers.docs_pages import blocks

pytestmark = [
    pytest.mark.slow,
    # Ray is imported later: it reads its environment once.
    pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray"),
]
GATES = 8
SPEC = """\
version: 1
models:
  base: {base: ./base, dtype: fp32, device: cpu}
  ft: {base: ./base, dtype: fp32, device: cpu, adapter: ./runs/0}
suite:
  - {name: nulls, kind: null_adapter, runs: 16}
  - {name: moved, kind: delta_kl, prompts: [The keeper of the road, The ravens live in, A bottle]}
  - {name: scaled, kind: adapter_ablation, prompts: [The keeper of the road, The ravens live in]}
"""


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of a head without CPUs and two nodes, on the loopback interface, with a token."""
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "OMP_NUM_THREADS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.machines = [add_node(cluster, cpus) for cpus in (0, 1, 1)]
    yield cluster
    cluster.shutdown()


def add_node(cluster: Any, cpus: int) -> Any:
    """Ray gives up if its processes do not start in 15 seconds, as on a busy machine."""
    options = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    for _ in range(4):
        with suppress(Exception):
            return cluster.add_node(**options)
    return cluster.add_node(**options)


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny base, adapters and a spec; nothing is stored yet."""
    from tests.helpers.models import save_adapter, save_base

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    base = save_base(tmp_path / "base", "llama")
    for i in range(GATES):
        save_adapter(tmp_path / "runs" / str(i), base, seed=i, size=0.1 + 0.02 * i)
    (tmp_path / "sway.yaml").write_text(SPEC, encoding="utf-8")
    return tmp_path


def numbers(probes: Any) -> dict[str, list[Any]]:
    return {p["name"]: [p["raw"], p["z"], *p["null_values"]] for p in probes}


def one_by_one() -> dict[str, dict[str, list[Any]]]:
    from sway_gate.reports.json_v1 import to_json

    found = {}
    for i in range(GATES):
        result = run_gate(load_spec("sway.yaml", f"runs/{i}"), Options(cache=False))
        found[str(i)] = numbers(json.loads(to_json(result))["probes"])
    return found


def kill_after(count: int, cluster: Any) -> threading.Thread:
    """Kill a machine without a warning once `count` results are there."""

    def watch() -> None:
        while len(list(Path("results").glob("*.json"))) < count:
            time.sleep(0.05)
        cluster.remove_node(cluster.machines[-1], allow_graceful=False)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_killed_machine_loses_nothing_and_changes_no_number(
    machines: Any, field: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    sent: list[str] = []
    send = ray_pool.RayPool.send

    def counted(self: Any, worker: int, task: bytes) -> None:
        sent.append(Path(json.loads(task)["adapter"]).name)
        send(self, worker, task)

    monkeypatch.setattr(ray_pool.RayPool, "send", counted)
    words = ["fleet", "sway.yaml", "--adapters", "runs/*", "--results", "results"]
    killer = kill_after(2, machines)
    code = cli.main([*words, "--ray", machines.address])
    killer.join(timeout=60)
    found = {
        Path(report["adapter"]["path"]).name: report
        for path in Path("results").glob("*.json")
        for report in [json.loads(path.read_bytes())]
    }
    names = [str(i) for i in range(GATES)]
    assert sorted(found) == names, capsys.readouterr().err
    assert code == max(report["exit_code"] for report in found.values())
    again = Counter(sent) - Counter(names)
    assert again.total() == 1  # the gate that the killed machine measured, and no other

    assert {name: numbers(found[name]["probes"]) for name in names} == {
        name: {key: pytest.approx(values, rel=1e-6) for key, values in own.items()}
        for name, own in one_by_one().items()
    }

    sent.clear()
    assert cli.main(words) == code  # Ray is not even started
    assert sent == []
    assert capsys.readouterr().err.count("  stored") == GATES


HERE = "run by tests/fleet/test_ray.py: needs Ray"
"""The mark before the block of the page that the next test runs."""


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = blocks(ROOT / "docs" / "fleet.md")
    [command] = [one for block in page if block.mark == HERE for one in commands(block)]
    shutil.copytree(demo.FOLDER, tmp_path / "demo")
    monkeypatch.chdir(tmp_path / "demo")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    program, *words = shlex.split(command.script.removeprefix("(exit $code); "))
    assert program == "sway"
    run = subprocess.run(
        [sys.executable, "-m", "sway_gate", *words], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stderr
    assert is_shown(command.shown, run.stdout), run.stdout


def test_without_an_address_ray_runs_on_this_machine_and_ends(field: Path) -> None:
    before = set(Path("/tmp").glob("sway-fleet-*"))
    words = ["fleet", "sway.yaml", "--adapters", "runs/0", "runs/1", "--json"]
    # A separate process: Ray reads its environment once.
    command = [sys.executable, "-m", "sway_gate", *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    gates = json.loads(run.stdout)["gates"]
    assert [gate["node"] for gate in gates] == ["127.0.0.1"] * 2, run.stderr
    assert run.returncode == max(gate["exit_code"] for gate in gates)
    assert set(Path("/tmp").glob("sway-fleet-*")) <= before
