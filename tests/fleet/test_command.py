"""`sway fleet` from the command line to the exit code, with workers in this process."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from sway_gate import cli, demo
from sway_gate.commands import fleet
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.fleet import ray_pool
from sway_gate.fleet.plan import Gate
from sway_gate.spec.load import load_spec
from tests.fleet.pool import FakePool, answer, planned
from tests.fleet.test_plan import SPEC, plan
from tests.helpers import results
from tests.reports.test_samples import FULL, SECRETS


@pytest.fixture
def pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    """The pools that fleets have opened; each answers every task with a healthy result."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(demo.MODEL, "model")
    for name in ("healthy", "untrained"):
        shutil.copytree(demo.FOLDER / name, f"runs/{name}")
    Path("sway.yaml").write_text(SPEC.replace("./healthy", "./runs/healthy"), encoding="utf-8")
    opened: list[FakePool] = []

    @contextmanager
    def pool(address: str | None, cpus: int) -> Iterator[FakePool]:
        opened.append(FakePool(_planned()))
        yield opened[-1]

    monkeypatch.setattr(ray_pool, "ray_pool", pool)
    monkeypatch.setattr(fleet, "_require_ray", lambda: None)
    return opened


def _planned() -> Any:
    from sway_gate.gate.resolve import Options

    adapters = ["", *map(str, sorted(Path("runs").glob("[hu]*")))]
    for adapter in adapters:
        gate = Gate("sway.yaml", adapter)
        with suppress(AdapterError):
            yield plan(gate, load_spec("sway.yaml", adapter or None), Options(allow_code=True))


def test_each_spec_is_judged_with_each_adapter_once(pools: Any, capsys: Any) -> None:
    Path("runs/last").symlink_to("healthy")
    words = ["fleet", "sway.yaml", "./*.yaml", "--adapters", "runs/healthy", "runs/*"]
    assert cli.main([*words, "-o", "r.json", "-o", "r.xml", "-o", "r.md"]) == 0
    out, err = capsys.readouterr()
    gates = json.loads(Path("r.json").read_bytes())["gates"]
    assert [Path(gate["adapter"]).name for gate in gates] == ["healthy", "untrained"]
    assert len(ElementTree.parse("r.xml").getroot()) == 2
    assert Path("r.md").read_text(encoding="utf-8").count("| PASS |") == 2
    assert out.splitlines()[-1] == "2 gates: 2 pass"
    lines = err.splitlines()
    assert lines[0] == "[0/2] 2 gates to measure; starting Ray"
    assert [line.split()[:2] for line in lines[1:]] == [["[1/2]", "PASS"], ["[2/2]", "PASS"]]


def test_a_second_fleet_measures_only_what_is_missing(pools: Any, capsys: Any) -> None:
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/healthy", "--results", "r"]) == 0
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*", "--results", "r"]) == 0
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*", "--results", "r"]) == 0
    assert [len(pool.sent) for pool in pools] == [1, 1]
    assert len(list(Path("r").glob("*.json"))) == 2
    assert "[2/2] PASS   sway.yaml runs/untrained  stored\n" in capsys.readouterr().err
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*", "--no-cache"]) == 0
    assert len(pools[-1].sent) == 2


def test_copies_of_an_adapter_have_a_report_each(pools: Any) -> None:
    shutil.copytree("runs/healthy", "copies/healthy")
    adapters = ["runs/healthy", "copies/healthy"]
    assert cli.main(["fleet", "sway.yaml", "--adapters", *adapters, "--results", "r"]) == 0
    assert len(list(Path("r").glob("*.json"))) == 2


def test_no_report_of_a_fleet_contains_a_sample(
    pools: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("tests.fleet.pool.answer", lambda one: answer(one, FULL))
    files = ["-o", "f.md", "-o", "f.json", "-o", "f.xml", "--results", "r"]
    cli.main(["fleet", "sway.yaml", "--no-cache", *files, "--no-samples"])
    written = [*Path().glob("f.*"), *Path("r").iterdir()]
    texts = [capsys.readouterr().out, *(path.read_text(encoding="utf-8") for path in written)]
    assert len(texts) == 5
    assert [secret for secret in SECRETS for text in texts if secret in text] == []


def test_a_missing_model_is_not_offered_as_a_download(pools: Any, capsys: Any) -> None:
    assert cli.main(["fleet", "sway.yaml", "--adapters", "org/lora"]) == 3
    message, counts = capsys.readouterr().out.split("\n\n")
    assert " ".join(message.split()).endswith("run `hf download org/lora`")
    assert counts == "1 gate: 1 error\n"


@pytest.mark.parametrize("file", ["data.json", "runs/untrained/x.json", "sway.yaml"])
def test_a_report_does_not_overwrite_an_input(pools: Any, file: str, capsys: Any) -> None:
    rows = [{"prompt": f"{i}?", "completion": f" {i}."} for i in range(9)]
    Path("data.json").write_text(json.dumps(rows), encoding="utf-8")
    with Path("sway.yaml").open("a", encoding="utf-8") as spec:
        spec.write("data: data.json\n")
    words = ["fleet", "*.yaml", "--adapters", "runs/*", "--json", file]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --json {file}")
    assert error.count("\n") == 1
    assert pools == []


def test_the_remaining_time_counts_measured_gates_only(pools: Any, capsys: Any) -> None:
    Path("runs/untrained/adapter_model.safetensors").write_bytes(b"")
    cli.main(["fleet", "sway.yaml", "--adapters", "runs/untrained", "runs/healthy"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] ERROR  sway.yaml runs/untrained"
    assert lines[1] == "[1/2] 1 gate to measure; starting Ray"


def test_the_remaining_time_does_not_count_the_start_of_ray(
    pools: Any, monkeypatch: Any, capsys: Any
) -> None:
    now, opened = 0.0, ray_pool.ray_pool

    @contextmanager
    def slow(address: str | None, cpus: int) -> Iterator[Any]:
        nonlocal now
        now = 3600.0
        with opened(address, cpus) as pool:
            yield pool

    monkeypatch.setattr(ray_pool, "ray_pool", slow)
    monkeypatch.setattr(fleet, "time", SimpleNamespace(monotonic=lambda: now))
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*"]) == 0
    assert ", about 1 s left" in capsys.readouterr().err


def test_a_pattern_of_adapters_takes_folders_only(pools: Any, capsys: Any) -> None:
    Path("runs/README.md").write_text("notes", encoding="utf-8")
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*", "-o", "r.json"]) == 0
    gates = json.loads(Path("r.json").read_bytes())["gates"]
    assert [Path(gate["adapter"]).name for gate in gates] == ["healthy", "untrained"]
    assert cli.main(["fleet", "sway.yaml", "--adapters", "*.md"]) == 2
    assert "no folder matches this pattern" in capsys.readouterr().err


def test_a_broken_adapter_fails_its_own_gate_only(pools: Any, capsys: Any) -> None:
    Path("runs/untrained/adapter_model.safetensors").write_bytes(b"")
    assert cli.main(["fleet", "sway.yaml", "--adapters", "runs/*", "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("ERROR  sway.yaml runs/untrained")
    assert out.splitlines()[-1] == "2 gates: 1 pass, 1 error"
    assert (err, len(pools[0].sent)) == ("", 1)


def test_a_result_on_another_adapter_is_an_error(pools: Any, monkeypatch: Any) -> None:
    forged = answer(planned("other"), results.healthy())
    monkeypatch.setattr("tests.fleet.pool.answer", lambda one: forged)
    assert cli.main(["fleet", "sway.yaml"]) == 3


def test_ctrl_c_says_that_finished_gates_are_kept(
    pools: Any, monkeypatch: Any, capsys: Any
) -> None:
    def stop(self: Any, seconds: float) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakePool, "events", stop)
    assert cli.main(["fleet", "sway.yaml"]) == 130
    message = "finished gates are kept: run the same command to continue\nerror: interrupted\n"
    assert capsys.readouterr().err.endswith(message)


def test_a_file_outside_the_folder_is_refused(pools: Any, capsys: Any) -> None:
    Path("in").mkdir()
    shutil.copy("sway.yaml", "in")
    assert cli.main(["fleet", "in/sway.yaml", "--confine", "in"]) == 2
    assert "leads out of in (--confine)" in capsys.readouterr().err
    assert pools == []


@pytest.mark.parametrize("address", ["head", ":6379", "head:", "head:70000", "ray://head"])
def test_an_address_without_host_and_port_is_refused(pools: Any, address: str, capsys: Any) -> None:
    with suppress(SystemExit):
        cli.main(["fleet", "sway.yaml", "--ray", address])
    assert "must be HOST:PORT or auto" in capsys.readouterr().err
    assert pools == []


def test_an_address_where_nothing_listens_ends_at_once() -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{own.getsockname()[1]}"
        found = pytest.raises(CannotDecide, match="Ray does not answer: Connection refused")
        with found, ray_pool.ray_pool(address, 1):
            pass


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_one_line_names_the_extra(capsys: Any) -> None:
    assert cli.main(["fleet", str(demo.FOLDER / "healthy.sway.yaml")]) == 2
    error = "error: sway fleet needs Ray; install the extra: pip install 'sway-gate[ray]'\n"
    assert capsys.readouterr().err == error
