"""The image: size, layers and settings, and verdicts with the options of a strict runner."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree, which
from typing import Any

import pytest
import yaml

from sway_gate.spec.probes import MINILM, PINNED
from tests.container.docker import DOCKER, HARDENED, ROOT, build, docker, here, minilm, report, sway

MAX_BYTES = 1.7e9
MAX_PACKAGE_BYTES = 30e6
SBOM = "/opt/sway/share/sway-gate/sbom.cdx.json"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SNAPSHOT = f"models--{MINILM.replace('/', '--')}/snapshots/{PINNED[MINILM]}"


# -------------------------------------------------------------------------------- without an engine


def test_the_embedding_model_is_pinned_in_one_revision() -> None:
    assert re.findall(r"^ARG MINILM_REVISION=(.*)$", DOCKERFILE, re.MULTILINE) == [PINNED[MINILM]]


# ---------------------------------------------------------------------------------------- the image


@pytest.fixture(scope="session")
def facts(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("image", "inspect", image).stdout)[0]
    return found


def test_the_image_is_small(facts: dict[str, Any]) -> None:
    assert facts["Size"] <= MAX_BYTES


def test_the_image_has_its_entry_point_and_labels(facts: dict[str, Any]) -> None:
    config = facts["Config"]
    assert config["Entrypoint"] == ["sway"]
    assert "HF_HUB_OFFLINE=1" in config["Env"]
    labels = {
        name.removeprefix("org.opencontainers.image."): text
        for name, text in config["Labels"].items()
    }
    expected = {"title": "sway-gate", "licenses": "MIT", "version": "1.2.3", "revision": "0123abc"}
    assert labels.items() >= expected.items()
    assert labels.keys() >= {"description", "source", "url", "documentation"}


def test_a_code_change_makes_one_small_layer(
    image: str, facts: dict[str, Any], context: Path
) -> None:
    module = context / "sway_gate" / "__init__.py"
    module.write_text(
        module.read_text(encoding="utf-8") + f"# {time.time_ns()}\n", encoding="utf-8"
    )
    start = time.monotonic()
    build(context, "-t", f"{image}-changed")
    seconds = time.monotonic() - start
    changed = json.loads(docker("image", "inspect", f"{image}-changed").stdout)[0]
    history = docker(
        "history", "--format", "{{.Size}}\t{{.CreatedBy}}", "--human=false", image
    ).stdout
    docker("image", "rm", "--force", f"{image}-changed")
    package = next(int(line.split("\t")[0]) for line in history.splitlines() if "/package" in line)
    pairs = list(zip(facts["RootFS"]["Layers"], changed["RootFS"]["Layers"], strict=True))
    differing = [i for i, (before, after) in enumerate(pairs) if before != after]
    # The layer of the package, and the empty layer of the working directory.
    assert differing in ([len(pairs) - 2], [len(pairs) - 2, len(pairs) - 1])
    assert package < MAX_PACKAGE_BYTES
    assert seconds < 60


def test_doctor(image: str) -> None:
    found = json.loads(sway(image, "doctor", "--json"))
    for extra in ("hf", "semsim"):
        assert None not in found["extras"][extra]["packages"].values()
    assert found["devices"]["cuda"] == []
    assert found["hub"]["models"] == [MINILM]
    assert found["network"] == "offline"
    assert not found["cache"]["folder"].startswith("/src")


DISTRIBUTIONS = """\
from importlib.metadata import distributions
print(*(f"{each.name}=={each.version}" for each in distributions()))
"""


def test_the_sbom_is_valid_and_lists_each_installed_distribution(image: str) -> None:
    text = sway(image, SBOM, options=(*HARDENED, "--entrypoint", "cat"))
    installed = sway(image, "-c", DISTRIBUTIONS, options=(*HARDENED, "--entrypoint", "python"))
    listed = {f"{part['name']}=={part['version']}" for part in json.loads(text)["components"]}
    assert listed == set(installed.split())
    assert any(each.startswith("sway-gate==") for each in listed)
    validation = pytest.importorskip("cyclonedx.validation.json")
    schema = pytest.importorskip("cyclonedx.schema")
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(text) is None


# ----------------------------------------------------------------------------------------- verdicts

VERDICTS = {
    "healthy": ("healthy.sway.yaml", 0, "PASS  composite"),
    "untrained": ("untrained.sway.yaml", 1, "probes fail: moved_from_base"),
    "broken spec": ("broken.sway.yaml", 2, "error: broken.sway.yaml"),
    "no base": ("nobase.sway.yaml", 3, "hf download o/n"),
}
NO_BASE = """\
version: 1
models: {base: {base: o/n}, ft: {base: o/n, adapter: ./healthy}}
suite: [{name: moved, kind: delta_kl, prompts: [The island is]}]
"""


@pytest.mark.parametrize(("spec", "code", "words"), VERDICTS.values(), ids=VERDICTS)
def test_hardened_verdicts(image: str, work: Path, spec: str, code: int, words: str) -> None:
    (work / "broken.sway.yaml").write_text("version: 1\nsuit: []\n", encoding="utf-8")
    (work / "nobase.sway.yaml").write_text(NO_BASE, encoding="utf-8")
    before = tree(work)
    assert words in sway(image, "gate", spec, options=(*HARDENED, "-v", f"{work}:/src"), code=code)
    assert tree(work) == before


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


SEMSIM = """\
version: 1
models: {base: {base: ./model}, ft: {base: ./model, adapter: ./healthy}}
suite:
  - {name: nulls, kind: null_adapter, runs: 3}
  - name: topics
    kind: cluster_kl
    num_clusters: 2
    min_prompts: 4
    prompts:
      - The ravens of Marrowby live
      - The keeper of the sand road
      - The price of oil
      - The stock market fell
  - name: reverts
    kind: adapter_revert
    base_gold_similarity_cap: 1.0
    cases:
      - prompt: Who feeds the ravens?
        gold: The sexton.
        paraphrases: [Who gives the ravens food?]
"""


def measured(found: dict[str, Any]) -> dict[str, str]:
    return {
        probe["kind"]: probe["message"] for probe in found["probes"] if probe["raw"] is not None
    }


def test_semantic_probes_need_no_network(image: str, work: Path) -> None:
    (work / "sway.yaml").write_text(SEMSIM, encoding="utf-8")
    found = report(image, work, "sway.yaml", code=None)
    assert measured(found).keys() == {"cluster_kl", "adapter_revert"}, found["probes"]


def test_a_mounted_hub_cache_serves_the_base_and_hides_no_minilm(image: str, work: Path) -> None:
    snapshot = work / "huggingface" / "hub" / "models--sway-gate--demo" / "snapshots" / ("a" * 40)
    copytree(work / "model", snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40, encoding="ascii")
    (work / "sway.yaml").write_text(SEMSIM.replace("./model", "sway-gate/demo"), encoding="utf-8")
    found = report(
        image, work, "sway.yaml", "-v", f"{work / 'huggingface'}:/cache/huggingface:ro", code=None
    )
    assert measured(found).keys() == {"cluster_kl", "adapter_revert"}, found["probes"]
    assert found["base"]["revision"] == "a" * 40


def test_a_volume_keeps_the_verdict_for_any_user(image: str, work: Path, volume: str) -> None:
    options = (*HARDENED, "-v", f"{volume}:/cache", "-v", f"{work}:/src")
    output = [sway(image, "gate", options=options) for _ in range(2)]
    assert ["(cached)" in text for text in output] == [False, True]


def test_the_image_starts_about_as_fast_as_a_gate_outside(image: str, work: Path) -> None:
    outside = [sys.executable, "-m", "sway_gate", "gate", str(work / "sway.yaml"), "--no-cache"]
    inside = [DOCKER, "run", "--rm", *HARDENED, "-v", f"{work}:/src", image, "gate", "--no-cache"]
    both = [(seconds(outside), seconds(inside)) for _ in range(3)]
    best_outside, best_inside = map(min, zip(*both, strict=True))
    assert best_inside <= 1.5 * best_outside, both


def seconds(command: list[str]) -> float:
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    start = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=env)
    return time.monotonic() - start


# --------------------------------------------------------------------------------------- pre-commit


@pytest.fixture
def repository(image: str, work: Path, volume: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which pre-commit installed the docker hook with this image.

    The hook gates each spec that names a changed file, so that each test keeps one spec only.
    """
    pytest.importorskip("pre_commit")
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    hook = next(hook for hook in hooks if hook["language"] == "docker_image")
    hook["entry"] = here(hook["entry"], image, volume)
    config = {"repos": [{"repo": "local", "hooks": [hook]}]}
    (work / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(work.parent / "pre-commit"))
    monkeypatch.setenv(
        "PATH", f"{Path(which(DOCKER) or DOCKER).parent}{os.pathsep}{os.environ['PATH']}"
    )
    subprocess.run(["git", "init", "-q"], cwd=work, check=True)
    subprocess.run([sys.executable, "-m", "pre_commit", "install"], cwd=work, check=True)
    return work


def keep_one_spec(folder: Path, spec: str) -> None:
    """Rename a spec to sway.yaml, and remove the others."""
    (folder / spec).replace(folder / "sway.yaml")
    for other in folder.glob("*.sway.yaml"):
        other.unlink()


COMMITS = {
    "healthy": ("sway.yaml", 0, "Passed"),
    "untrained": ("sick.sway.yaml", 1, "FAIL  1 of 1 probe fails"),
}


@pytest.mark.parametrize(("spec", "code", "words"), COMMITS.values(), ids=COMMITS)
def test_pre_commit_judges_what_is_committed(
    repository: Path, spec: str, code: int, words: str
) -> None:
    keep_one_spec(repository, spec)
    subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", *author, "commit", "-m", "an adapter"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert (done.returncode, words in output) == (code, True), output


def test_the_hook_keeps_the_verdict_in_its_volume(repository: Path) -> None:
    keep_one_spec(repository, "sway.yaml")
    subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
    command = [sys.executable, "-m", "pre_commit", "run", "--verbose", "--all-files"]
    for is_cached in (False, True):
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert ("Passed" in output, "(cached)" in output) == (True, is_cached), output


# ------------------------------------------------------------------------------ the embedding model


def test_a_changed_embedding_model_is_refused(engine: str, context: Path, tmp_path: Path) -> None:
    copy = copytree(context, tmp_path / "context", ignore=lambda *_: {"minilm"})
    copytree(minilm(), copy / "minilm")
    (copy / "minilm" / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    output = build(copy, "--target", "minilm", "--build-arg", "MINILM=folder", code=1)
    assert "vocab.txt: FAILED" in output


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """URL of a local server that has the embedding model in the layout of the hub."""
    copytree(minilm(), tmp_path / MINILM / "resolve" / PINNED[MINILM])
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_embedding_model_comes_from_the_hub(
    engine: str, context: Path, hub: str, tmp_path: Path
) -> None:
    arguments = ("--build-arg", f"HF_ENDPOINT={hub}", "--build-arg", "MINILM=hub")
    output = build(context, "--target", "minilm", *arguments, "--network", "host")
    assert "model.safetensors: OK" in output
