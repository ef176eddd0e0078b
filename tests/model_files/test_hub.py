"""Hub ids, and the local Hugging Face cache read without network and without huggingface_hub."""

import json
import runpy
import shutil
import sys
import types
from fnmatch import fnmatch
from pathlib import Path

import pytest

from sway_gate.errors import CannotDecide, UsageError
from sway_gate.model_files import hub
from tests.helpers.processes import modules_after

COMMIT, OTHER = "1" * 40, "ab" * 20
SOUND = ("config.json", "model.safetensors")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a current folder without anything."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache, ref, commit, files=SOUND, refs=()):
    """A snapshot as the hub client leaves it; `refs` are the branches and tags that name it."""
    repo = cache / f"models--{ref.replace('/', '--')}"
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    for name in files:
        (snapshot / name).write_text("{}", encoding="utf-8")
    for name in refs:
        (repo / "refs" / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / "refs" / name).write_text(commit, encoding="ascii")
    return snapshot


def local(ref, revision=None, online=False):
    return hub.local(ref, revision, online=online, what="base model")


IDS = ["gpt2", "org/name", "HuggingFaceTB/SmolLM2-135M-Instruct", "_a/b_", "a.b/c.d", "x" * 96]
NO_IDS = [
    "",
    ".",
    "..",
    "/",
    "a/",
    "/a",
    "a/b/c",
    "../a",
    "a/..",
    "a..b",
    "a--b",
    "-a",
    "a-",
    "a.",
    ".a",
    "~",
    "~/a",
    "a b",
]
NO_IDS += ["C:\\a", "a\\b", "a/b.git", "é", "a\n", "a\0", "x" * 97, "a:b", "https://a/b", "%2e"]


@pytest.mark.parametrize("ref", IDS)
def test_hub_ids_are_recognised(ref):
    assert hub.is_hub_id(ref)


@pytest.mark.parametrize("ref", NO_IDS)
def test_other_texts_are_not_taken_for_hub_ids(ref):
    assert not hub.is_hub_id(ref)


@pytest.mark.parametrize("ref", IDS)
def test_huggingface_hub_accepts_the_same_ids(ref):
    pytest.importorskip("huggingface_hub.utils").validate_repo_id(ref)


def test_a_folder_is_returned_as_it_is(tmp_path):
    assert local(str(tmp_path)) == tmp_path


REFS = [
    ("org/name", None, ["main"]),
    ("gpt2", None, ["main"]),
    ("org/name", "v1.0", ["v1.0"]),
    ("org/name", "refs/pr/3", ["refs/pr/3"]),
    ("org/name", COMMIT, []),
]


@pytest.mark.parametrize(("ref", "revision", "refs"), REFS)
def test_a_snapshot_is_found(ref, revision, refs, cache):
    put(cache, ref, OTHER, refs=["another"])
    snapshot = put(cache, ref, COMMIT, refs=refs)
    assert local(ref, revision) == snapshot


PARTS = [
    ("no config", ("model.safetensors",)),
    ("no weights", ("config.json", "tokenizer.json")),
    ("nothing", ()),
]


@pytest.mark.parametrize("files", [files for _, files in PARTS], ids=[name for name, _ in PARTS])
def test_a_half_downloaded_snapshot_is_missing(files, cache):
    put(cache, "org/name", COMMIT, files, refs=["main"])
    with pytest.raises(CannotDecide):
        local("org/name")


def test_an_adapters_snapshot_is_complete_with_its_own_config(cache):
    files = ("adapter_config.json", "adapter_model.safetensors")
    snapshot = put(cache, "org/name", COMMIT, files, refs=["main"])
    assert local("org/name") == snapshot


@pytest.mark.parametrize(("there", "complete"), [(("a", "b"), True), (("a",), False)])
def test_all_shards_of_the_index_must_be_there(there, complete, cache):
    shards = {name: f"model-{name}.safetensors" for name in "ab"}
    snapshot = put(
        cache, "o/n", COMMIT, ("config.json", *(shards[name] for name in there)), refs=["main"]
    )
    (snapshot / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": shards}), encoding="utf-8"
    )
    assert (hub._cached("o/n", None) == snapshot) is complete


@pytest.mark.parametrize(
    "broken", ["{", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": []}}', "[" * 100_000]
)
def test_a_broken_index_is_left_to_the_loader(broken, cache):
    snapshot = put(cache, "o/n", COMMIT, refs=["main"])
    (snapshot / "model.safetensors.index.json").write_text(broken, encoding="utf-8")
    assert local("o/n") == snapshot


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_to_a_file_still_on_its_way_is_missing(cache):
    snapshot = put(cache, "o/n", COMMIT, ("config.json",), refs=["main"])
    (snapshot / "model.safetensors").symlink_to("../../blobs/gone")
    assert hub._cached("o/n", None) is None


@pytest.mark.parametrize("content", ["../../../x", "main", "", "1" * 39, "1" * 41, "é"])
def test_a_ref_that_names_no_commit_leads_nowhere(content, cache):
    repo = put(cache, "org/name", COMMIT, refs=["main"]).parents[1]
    (repo / "refs/main").write_text(content, encoding="utf-8")
    shutil.copytree(repo / "snapshots" / COMMIT, repo / "snapshots" / content, dirs_exist_ok=True)
    assert hub._cached("org/name", None) is None


MISSING = [
    (None, "run `hf download org/name`, or pass --online"),
    ("v2", "run `hf download org/name --revision v2`, or pass --online"),
    (COMMIT, f"run `hf download org/name --revision {COMMIT}`, or pass --online"),
]


@pytest.mark.parametrize(("revision", "command"), MISSING)
def test_what_is_missing_names_the_command_that_fetches_it(revision, command, cache):
    with pytest.raises(CannotDecide) as caught:
        local("org/name", revision)
    assert str(caught.value).startswith("base model: org/name")
    assert str(caught.value).endswith(command)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UsageError, match=f"{tmp_path}: Permission denied; make"):
        local(str(tmp_path))
    with pytest.raises(UsageError, match=f"{tmp_path}: Permission denied; make"):
        local(str(tmp_path / "adapter_model.safetensors"))


def test_a_folder_missing_in_its_parent_is_no_hub_id(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "adapter").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"^base model: runs/adaptr: no such folder; did you mean"):
        local("runs/adaptr")
    snapshot = put(cache, "runs/adaptr", COMMIT, refs=["main"])
    assert local("runs/adaptr") == snapshot


@pytest.mark.parametrize("ref", [ref for ref in NO_IDS if ref not in (".", "..", "/", "a\0")])
def test_what_is_neither_folder_nor_id_is_refused(ref):
    with pytest.raises(UsageError, match="is neither a folder nor a hub id"):
        local(ref, online=True)


@pytest.mark.parametrize(
    "revision",
    ["", "../x", "a/../../b", "/etc", "a//b", "-x", "a b", "a\\b", "x" * 256, "a\n", "."],
)
def test_hostile_revisions_are_refused(revision):
    with pytest.raises(UsageError, match="is not a valid revision of org/name"):
        local("org/name", revision, online=True)


HOME = str(Path.home())
ENVS = [
    ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/a"),
    ({"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/b"),
    ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub"),
    ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
    ({"HF_HOME": "~/c"}, f"{HOME}/c/hub"),
    ({}, f"{HOME}/.cache/huggingface/hub"),
]


@pytest.mark.parametrize(("env", "folder"), ENVS)
def test_cache_folder(env, folder):
    assert hub.cache_folder(env) == Path(folder)


@pytest.mark.parametrize(("env", "folder"), ENVS)
def test_cache_folder_is_huggingface_hubs(env, folder, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_HUB_CACHE")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    theirs = runpy.run_module("huggingface_hub.constants")["HF_HUB_CACHE"]
    assert Path(theirs) == Path(folder)


@pytest.mark.parametrize("below", ["", "model.safetensors", "sub/folder"])
def test_commit_of_a_snapshot(below, cache):
    assert hub.commit(put(cache, "org/name", COMMIT) / below) == COMMIT


@pytest.mark.parametrize(
    "path",
    [
        "x",
        "models--a--b/blobs/" + COMMIT,
        "models--a--b/snapshots/main",
        "snapshots/" + COMMIT,
        "a/models--a--b/snapshots/" + COMMIT,
    ],
)
def test_a_path_outside_a_snapshot_has_no_commit(path, cache):
    assert hub.commit(cache / path) is None


def test_a_folder_with_the_name_of_a_snapshot_has_no_commit(cache, tmp_path):
    """A checkout can bring a folder of any name."""
    forged = put(tmp_path / "checkout", "org/name", COMMIT)
    assert hub.commit(forged) is None
    assert hub.commit(put(cache, "org/name", COMMIT)) == COMMIT


def test_a_linked_hub_cache_is_the_hub_cache(cache, tmp_path, monkeypatch):
    snapshot = put(cache, "org/name", COMMIT)
    (tmp_path / "link").symlink_to(cache)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "link"))
    assert hub.commit(snapshot) == COMMIT


# ------------------------------------------------------------------------------------------- online


@pytest.fixture
def client(cache, monkeypatch):
    """A fake huggingface_hub: `client.files` is the result of a download, or its error."""
    module = types.ModuleType("huggingface_hub")
    module.files, module.calls = SOUND, []

    def snapshot_download(ref, **how):
        module.calls.append((ref, how))
        if isinstance(module.files, Exception):
            raise module.files
        return str(put(cache, ref, COMMIT, module.files, refs=["main"]))

    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


def test_online_downloads_what_is_missing_once(client, cache):
    assert local("org/name", online=True) == local("org/name", online=True)
    ((ref, how),) = client.calls
    assert (ref, how["revision"], Path(how["cache_dir"])) == ("org/name", None, cache)


def test_a_download_takes_neither_pickles_nor_code(client):
    local("org/name", online=True)
    patterns = client.calls[0][1]["allow_patterns"]
    names = ["config.json", "model.safetensors", "merges.txt", "tokenizer.model", "a.tiktoken"]
    refused = ["pytorch_model.bin", "a.pt", "a.pth", "a.ckpt", "modeling_x.py", "a.pkl", "a.gguf"]
    assert [name for name in names + refused if any(fnmatch(name, p) for p in patterns)] == names


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (OSError("no\nroute"), "could not be downloaded: OSError: no route"),
        (("config.json",), "has no config.json or adapter_config.json with safetensors weights"),
    ],
)
def test_a_failed_download_is_undecided(files, said, client):
    client.files = files
    with pytest.raises(CannotDecide) as caught:
        local("org/name", online=True)
    assert str(caught.value) == f"base model: org/name {said}"


def test_without_the_extra_online_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CannotDecide, match=r"pip install 'sway-gate\[hf\]'"):
        local("org/name", online=True)


def test_the_cache_is_read_without_huggingface_hub(cache):
    put(cache, "org/name", COMMIT, refs=["main"])
    code = (
        "from sway_gate.model_files import hub;hub.local('org/name', None, online=False, what='x')"
    )
    assert "huggingface_hub" not in modules_after(code)
