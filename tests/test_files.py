"""Only regular files are opened, in every role: a pipe, a device or a socket never blocks a run."""

import ast
import os
import signal
import socket
from pathlib import Path

import pytest

from sway_gate import cache, files
from sway_gate.errors import SwayError
from sway_gate.files import NotRegular, did_you_mean, irregular_in, open_regular, read_regular
from sway_gate.model_files import config, digest, find, hub, kinds, shapes
from sway_gate.reports import json_v1, trace
from sway_gate.spec.load import load_spec
from sway_gate.static.check import check_files
from sway_gate.suites.check import _read_prompts
from sway_gate.training_data.files import Mistake, opened
from tests.test_layout import TREES

CONFIG = '{"peft_type": "LORA", "base_model_name_or_path": "org/base"}'


@pytest.fixture(autouse=True)
def alarm():
    """A read that blocks ends the test."""

    def stop(*_):
        raise AssertionError("a read blocked")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["pipe", "link to a pipe", "link to a device", "socket"])
def irregular(request, tmp_path):
    """Make a file that is not regular at a path."""

    def make(path):
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "link to a pipe":
            os.mkfifo(pipe := path.with_name(f"{path.name}-pipe"))
            path.symlink_to(pipe.name)
        elif request.param == "link to a device":
            path.symlink_to("/dev/zero")
        else:
            here = Path.cwd()
            os.chdir(path.parent)  # names of sockets are short
            socket.socket(socket.AF_UNIX).bind(path.name)
            os.chdir(here)
        return path

    return make


def test_a_regular_file_and_a_link_to_it_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 3) == b"tex"


def test_what_is_not_regular_is_not_opened(tmp_path, irregular):
    with pytest.raises(NotRegular, match="not a regular file"):
        open_regular(irregular(tmp_path / "file"))


def test_a_pipe_that_replaces_the_file_meanwhile_does_not_block(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    regular = os.stat(tmp_path / "file")
    monkeypatch.setattr(files.os, "stat", lambda _: regular)
    with pytest.raises(NotRegular):
        open_regular(tmp_path / "pipe")


@pytest.mark.parametrize(("name", "error"), [("none", FileNotFoundError), ("", IsADirectoryError)])
def test_a_missing_file_and_a_folder_keep_their_errors(tmp_path, name, error):
    with pytest.raises(error):
        open_regular(tmp_path / name)


def test_a_folder_with_such_a_file_is_found_one_level_deep(tmp_path, irregular):
    (tmp_path / "broken").symlink_to("missing")
    (tmp_path / "1_Pooling").mkdir()
    assert irregular_in(tmp_path) is None
    path = irregular(tmp_path / "1_Pooling" / "config.json")
    assert irregular_in(tmp_path) in (path, path.with_name("config.json-pipe"))


@pytest.mark.parametrize("what", ["base model", "embedding model", "fine-tuned model"])
def test_models_with_such_a_file_are_refused(tmp_path, irregular, what):
    irregular(tmp_path / "tokenizer.json")
    with pytest.raises(SwayError, match=f"{what}: .* is not a regular file; put a copy") as refusal:
        hub.local(str(tmp_path), None, online=False, what=what)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("given", ["", "adapter_config.json"])
def test_adapters_with_such_a_file_are_refused(tmp_path, irregular, given):
    (tmp_path / "adapter_config.json").write_text(CONFIG, encoding="utf-8")
    irregular(tmp_path / "adapter_model.safetensors")
    with pytest.raises(SwayError, match=r"adapter: .* is not a regular file"):
        find.adapter(str(tmp_path / given), None, online=False)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_the_static_check_names_the_file(tmp_path, irregular, name):
    (tmp_path / "adapter_config.json").write_text(CONFIG, encoding="utf-8")
    (tmp_path / name).unlink(missing_ok=True)
    irregular(tmp_path / name)
    report = check_files(tmp_path)
    found = [finding for finding in report.findings if finding.path.endswith(name)]
    assert report.exit_code == 2
    assert found[0].message == "cannot be read: not a regular file"
    assert found[0].remedy == "put a copy of the file there"


ROLES = {
    "spec": load_spec,
    "report": json_v1.load,
    "trace": trace.read,
    "training data": lambda path: opened(path).__enter__(),
    "prompts": _read_prompts,
}


@pytest.mark.parametrize("role", ROLES)
def test_an_input_is_refused_in_one_line(tmp_path, irregular, role):
    path = irregular(tmp_path / "input")
    with pytest.raises((SwayError, Mistake), match="not a regular file; save its output to a file"):
        ROLES[role](str(path))


def test_files_of_models_count_as_missing(tmp_path, irregular):
    for name in ("config.json", "chat_template.jinja", "model.gguf", "model.safetensors"):
        irregular(tmp_path / name)
    assert config.json_object(tmp_path / "config.json") == {}
    assert config.chat_template(tmp_path) is None
    assert shapes.read_shapes(tmp_path) == {}
    assert digest.model_files(tmp_path) == []
    assert kinds.not_an_adapter(tmp_path)


def test_a_cache_entry_counts_as_missing(tmp_path, irregular, monkeypatch):
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path))
    name = f"verdicts/{'0' * 64}"
    assert cache.store_entry(name, b"text")
    (tmp_path / name).unlink()
    irregular(tmp_path / name)
    assert cache.load_entry(name) is None


OTHERS = {
    "backends.full_model": "the code of transformers",
    "cache": "the key is opened without links",
    "output": "writes",
    "installed": "the package's own modules",
    "engine.trace": "writes",
    "probes.docs": "the package's own modules",
    "training_data.packaged": "the package's own texts",
    "backends.passes.memory": "/proc/meminfo",
    "pytest_plugin.suite": "its own temporary files",
    "reports.github": "files that the action wrote",
}
"""Modules that open files otherwise, and why."""


def opens(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "open" or name.endswith((".read_bytes", ".read_text")):
                yield name


def test_no_other_module_opens_inputs():
    found = {name for name, tree in TREES.items() if list(opens(tree))}
    assert found == {"sway_gate.files", *(f"sway_gate.{name}" for name in OTHERS)}


NEAR = {
    "a folder": ("runs/helthy", True, "did you mean runs/healthy?"),
    "a slash at its end": ("runs/helthy/", True, "did you mean runs/healthy?"),
    "a file": ("runs/healthy.yml", False, "did you mean runs/healthy.yaml?"),
    "a file is no folder": ("runs/notes.tx", True, ""),
    "nothing similar": ("runs/other", True, ""),
    "no parent": ("none/healthy", True, ""),
    "above the current folder": ("../outsid", True, ""),
    "behind a link": ("link/insid", True, ""),
    "a NUL character": ("runs\0/healthy", True, ""),
    "a name that no file has": ("runs/" + "h" * 100_000, True, ""),
}


@pytest.mark.parametrize("case", NEAR)
def test_a_similar_name_is_suggested_below_the_current_folder(case, tmp_path, monkeypatch):
    written, folder, expected = NEAR[case]
    here = tmp_path / "here"
    for name in ("here/runs/healthy", "outside/inside"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("healthy.yaml", "notes.txt"):
        (here / "runs" / name).touch()
    (here / "link").symlink_to(tmp_path / "outside")
    monkeypatch.chdir(here)
    assert did_you_mean(written, folder=folder) == expected


def test_messages_on_missing_files_suggest_a_name(tmp_path, monkeypatch):
    (tmp_path / "healthy").mkdir()
    (tmp_path / "train.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    for ref in ("helthy", "./helthy"):
        with pytest.raises(SwayError, match=r"neither a folder \(did you mean .*healthy\?\) nor"):
            hub.local(ref, None, online=False, what="adapter")
    with (
        pytest.raises(Mistake, match=r"no such file; did you mean train.jsonl"),
        opened("tran.jsonl"),
    ):
        pass
    (found,) = check_files("helthy", None).findings
    assert found.remedy == "did you mean healthy?"
