"""A new user's first mistakes, at least three per command: one line says what to do."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli, commands, demo

NOT_A_SPEC = {
    "": "sway.yaml: no such file; create one with `sway init`, or name yours, such as h.sway.yaml",
    "h.yaml": "h.yaml: no such file; create one with `sway init`",
    "lora": "lora: is an adapter, not a spec; judge it without a spec: sway check lora, or write "
    "its spec with `sway init`",
    "model": "model: is a model, not a spec; write a spec with `sway init`",
    "rows.jsonl": "rows.jsonl: is a data file; write its spec: sway init ADAPTER --data rows.jsonl",
}
FOLDER = "give the folder that contains adapter_config.json and adapter_model.safetensors"
MODEL = "this is a full model (model.safetensors), not an adapter; judge it with sway check --model"
DATA = f"rows.jsonl: this is a data file, not an adapter; {FOLDER}; give data with --data"
MISTAKES = {
    **{f"gate {word}": line for word, line in NOT_A_SPEC.items()},
    **{f"mine {word}": line for word, line in NOT_A_SPEC.items()},
    **{f"prefetch {word}": line for word, line in NOT_A_SPEC.items()},
    **{f"gate --dry-run {word}": line for word, line in NOT_A_SPEC.items()},
    **{f"run {word}": line for word, line in NOT_A_SPEC.items()},
    "gate h.sway.yaml --quite": "unknown option --quite; did you mean --quiet?",
    "gate h.sway.yaml other.yaml": "unexpected argument 'other.yaml'; for example: sway gate",
    "gate lora h.sway.yaml": "for example: sway gate sway.yaml --adapter ADAPTER",
    "gate h.sway.yaml lora": "for example: sway gate sway.yaml --adapter ADAPTER",
    "gate --json h.sway.yaml": "put the option after the spec or write OPTION=FILE",
    "gate h.sway.yaml --threshold 50%": "must be a number from 0 to 1, got '50%'",
    "check": "give an adapter, or a fine-tuned model with --model and --base",
    "check rows.jsonl": DATA,
    "check empty": "empty: adapter_config.json is missing; " + FOLDER,
    "check lora --base empty": "empty: this is not a model: config.json is missing; give a folder "
    "that contains a saved model",
    "check lora --base rows.jsonl": "rows.jsonl is a file; give the folder that contains a saved "
    "model",
    "check https://huggingface.co/org/lora": "https://huggingface.co/org/lora is an address; give "
    "the hub id: org/lora",
    "check lora --base hf://org/base/tree": "is an address; give the hub id: org/base",
    "diff h.sway.yaml lora https://huggingface.co/org/lora": "; give the hub id: org/lora",
    "check lora --base model --data lora": "lora: is the folder of an adapter "
    "(adapter_config.json); give the training data",
    "check lora --base model --data model": "model: is the folder of a model "
    "(tokenizer_config.json); give the training data",
    "check --adapter lora": "unknown option --adapter; write ADAPTER without it; for example: sway "
    "check runs/adapter --data train.jsonl",
    "check model": f"{MODEL}, or {FOLDER}",
    "check lora --base lora": "this is the folder of an adapter, not of a base model; give the "
    "model that it changes",
    "check lora model": "unexpected argument 'model'; a base is given with --base model",
    "check lora rows.jsonl": "unexpected argument 'rows.jsonl'; for example: sway check "
    "runs/adapter --data train.jsonl",
    "check lora --base model --prompts empty.txt": "empty.txt: contains no prompt; give one per "
    "line",
    "check lora --base model --prompts rows.jsonl": "rows.jsonl:1: a row of JSON; give prompts as "
    "text, one per line, and rows with --data",
    "check lora --base model --data none.jsonl": "none.jsonl: no such file",
    "demo lora": "unexpected argument 'lora'; for example: sway demo",
    "demo --quite": "unknown option --quite; did you mean --quiet?",
    "demo --html x": "unknown option --html; `sway demo --help` lists the options",
    "init": "the following arguments are required: --data; for example: sway init runs/adapter "
    "--data train.jsonl",
    "init rows.jsonl --data lora": DATA,
    "init past/lor --data rows.jsonl": "adapter: past/lor: no such folder; did you mean past/lora?",
    "init past/lor --base model --data rows.jsonl": "past/lor: no such folder; did you mean "
    "past/lora?",
    "check past/lor --base model": "adapter: past/lor: no such folder; did you mean past/lora?",
    "check lora --base past/x": "base model: past/x: no such folder; give a folder, or the hub id "
    "of a cached model",
    "init model --data rows.jsonl": f"{MODEL}, or {FOLDER}",
    "init lora --data rows.jsonl --dat x": "unknown option --dat; did you mean --data?",
    "init lora --base model --data h.sway.yaml": "is YAML; convert it to JSONL with one example "
    "per line",
    "autogen": "the following arguments are required: DOCUMENT; for example: sway autogen "
    "notes.dlm",
    "autogen none.dlm": "none.dlm: no such file",
    "autogen lora": "lora: is a folder; give a file",
    "report": "give either the JSON report RESULT, or several with --history; for "
    "example: sway report report.json",
    "report none.json": "none.json: no such file; write one with `sway gate SPEC --json FILE`",
    "report repor.json": "repor.json: no such file; did you mean report.json?",
    "report report.json -o r.pdf": "-o r.pdf: its ending names no format; use .json, .md, .html, "
    ".xml (JUnit), .sarif, .txt or --format",
    "check report.json --base model": "this is a JSON report, not an adapter; show it with sway "
    "report, or compare two with sway compare",
    "check lora --base model --data": "--data needs a value: --data FILE",
    "gate h.sway.yaml -o": "--output needs a value: --output FILE",
    "gate h.sway.yaml --html": "--html needs a value: --html FILE",
    "check lora --base model --learn": "needs a value: --learn content|form|preference",
    "check lora --base model --data ''": "argument --data: is empty; give a value, or leave it out",
    "check ''": "argument ADAPTER: is empty; give a value, or leave it out",
    "report lora": "lora: is a folder, not a JSON report; write one with `sway gate SPEC "
    "--json FILE`, or compare two adapters with `sway diff`",
    "report h.sway.yaml": "; pass a file written with --json",
    "compare report.json": "the following arguments are required: NEW; for example: sway compare "
    "old.json new.json",
    "compare lora lora": "lora: is a folder, not a JSON report; write one with `sway gate SPEC "
    "--json FILE`, or compare two adapters with `sway diff`",
    "compare rows.jsonl rows.jsonl": "; pass a file written with --json",
    "diff lora": "give two adapters and at most one spec, got 1 adapter and 0 specs; for example: "
    "sway diff runs/old runs/adapter",
    "report r.json --html x.html": "unknown option --html; use --format html, or -o FILE",
    "diff lora model --base model": "unknown option --base; set models.base in the spec",
    "gate h.sway.yaml --data rows.jsonl": "unknown option --data; set data in the spec",
    "diff lora lora": NOT_A_SPEC[""],
    "diff h.sway.yaml rows.jsonl lora": DATA,
    "diff h.sway.yaml lora model": f"{MODEL}, or {FOLDER}",
    "rank": "the following arguments are required: SPEC|ADAPTER; for example: sway rank sway.yaml "
    "runs/old runs/adapter",
    "rank h.sway.yaml lora": "give two adapters or more and at most one spec, got 1 adapter and 1 "
    "spec; for example: sway rank sway.yaml 'runs/checkpoint-*'",
    "rank h.sway.yaml lora rows.jsonl": DATA,
    "rank h.sway.yaml lora 'runs/*'": "runs/*: no folder matches this pattern",
    "rank h.sway.yaml lora 'runs/**'": "runs/**: ** is not supported; give a * per folder",
    "rank h.sway.yaml lora model --by null": "--by 'null': must be a probe that orders adapters; "
    "here: learned_the_document, kept_knowledge, kept_prose, recites_nothing",
    "baseline": "the following arguments are required: update, BASELINE; for example: sway "
    "baseline update baseline.json --from report.json",
    "baseline b.json": "argument update: must be update, got 'b.json'; for example: sway baseline "
    "update baseline.json --from report.json",
    "baseline update b.json": "give either SPEC or --from RESULT; for example: sway baseline "
    "update baseline.json --from report.json",
    "mine h.sway.yaml --mode outlier": "argument --mode: must be paraphrase or outliers, got "
    "'outlier'; did you mean outliers?",
    "trace": "the following arguments are required: FILE; for example: sway trace trace.jsonl",
    "trace none": "none: no such file; write one with `sway gate SPEC --trace FILE`",
    "trace rows.jsonl": "rows.jsonl: is not a trace of version 1; create one with `sway gate SPEC "
    "--trace FILE`",
    "hook none.sway.yaml": "none.sway.yaml: no such file; did you mean h.sway.yaml?",
    "hook --tier fast h.sway.yaml": "argument --tier: must be quick or full, got 'fast'",
    "hook --bugdet 60s": "unknown option --bugdet; did you mean --budget?",
    "fleet": "the following arguments are required: SPEC; for example: sway fleet sway.yaml "
    "--adapters runs/adapter runs/old",
    "fleet none.sway.yaml": "none.sway.yaml: no such file; did you mean h.sway.yaml?",
    "fleet '*.yml'": "*.yml: no file matches this pattern",
    "fleet -": "a fleet cannot read a spec from standard input; give its file",
    "fleet h.sway.yaml --adapter lora": "unknown option --adapter; did you mean --adapters?",
    "fleet h.sway.yaml --results h.sway.yaml": "--results h.sway.yaml: File exists; name another "
    "folder",
    "parity lora": "the following arguments are required: --against; for example: sway parity "
    "runs/adapter --against merged",
    "parity lora --against none": "--against none: no such folder; give a folder of a model, a "
    ".gguf file, or the address of a server, as http://localhost:8000/v1#MODEL",
    "parity lora --against none.gguf": "--against none.gguf: no such file; give a folder of a "
    "model, a .gguf file, or the address of a server, as http://localhost:8000/v1#MODEL",
    "parity lora --against rows.jsonl": "--against rows.jsonl: is a file; give a folder of a "
    "model, a .gguf file, or the address of a server, as http://localhost:8000/v1#MODEL",
    "parity lora --agianst base": "unknown option --agianst; did you mean --against?",
    "static": "give the folder of an adapter: sway static runs/adapter",
    "static lora --base x/y/z": "--base x/y/z: no such folder, and not a hub id",
    "static lora --verbos": "unknown option --verbos; did you mean --verbose?",
    "explain delta": "'delta' is not a kind of probe, a name, a term or a diagnosis; did you mean "
    "delta_kl?",
    "explain gate": "'gate' is not a kind of probe, a name, a term or a diagnosis; it is a "
    "command: sway gate --help",
    "explain z none.yaml": "none.yaml: no such file; create one with `sway init`",
    "probes delta_kl": "unexpected argument 'delta_kl'; for example: sway probes",
    "probes --json": "unknown option --json; `sway probes --help` lists the options",
    "probes -v -x": "unknown option -x; `sway probes --help` lists the options",
    "schema h.sway.yaml": "unexpected argument 'h.sway.yaml'; for example: sway schema",
    "schema -o x": "unknown option -o; `sway schema --help` lists the options",
    "schema --verbos": "unknown option --verbos; did you mean --verbose?",
    "doctor hf": "unexpected argument 'hf'; for example: sway doctor",
    "doctor --jsn": "unknown option --jsn; did you mean --json?",
    "doctor --json none/d.json": "does not exist; create it first",
    "prefetch org/model": "org/model: no such file; give a spec, not the name of a model",
    "cache clean": "argument clear: must be clear, got 'clean'; did you mean clear?",
    "cache rm": "argument clear: must be clear, got 'rm'; for example: sway cache",
    "cache --clear": "unknown option --clear; `sway cache --help` lists the options",
    "completion": "the following arguments are required: SHELL; for example: sway "
    "completion bash > ~/.local/share/bash-completion/completions/sway",
    "completion csh": "argument SHELL: must be bash or zsh or fish, got 'csh'; for example: sway "
    "completion bash > ~/.local/share/bash-completion/completions/sway",
    "completion fsh": "argument SHELL: must be bash or zsh or fish, got 'fsh'; did you mean fish?",
}


@pytest.fixture(scope="module")
def field(tmp_path_factory: Any) -> Path:
    """A folder with an adapter, its base, a spec and data."""
    folder: Path = tmp_path_factory.mktemp("field")
    shutil.copytree(demo.MODEL, folder / "model")
    shutil.copytree(demo.HEALTHY, folder / "lora")
    shutil.copytree(demo.HEALTHY, folder / "past" / "lora")
    spec = (demo.FOLDER / "healthy.sway.yaml").read_text(encoding="utf-8")
    (folder / "h.sway.yaml").write_text(spec.replace("./healthy", "./lora"), encoding="utf-8")
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    (folder / "report.json").write_text('{"schema_version": 1}', encoding="utf-8")
    (folder / "empty.txt").touch()
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(("line", "end"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_ends_in_one_line(
    field: Path, monkeypatch: Any, capsys: Any, line: str, end: str
) -> None:
    monkeypatch.chdir(field)
    assert cli.main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    usage, _, message = err.rpartition("rror: ")
    assert message.endswith(f"{end}\n")
    assert (out, message.count("\n")) == ("", 1)
    assert usage.count("\n") <= 1


def test_each_command_has_three_mistakes() -> None:
    first = [line.split()[0] for line in MISTAKES]
    assert [name for name in commands.MODULES if first.count(name) < 3] == []
