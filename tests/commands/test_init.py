"""`sway init` and `sway autogen`: targets, errors, and verdicts of the written suite."""

import os
import shutil
import sys

import pytest

from sway_gate import cli, demo
from sway_gate.gate.resolve import with_data
from sway_gate.gate.run import run_gate
from sway_gate.spec.load import load_spec, parse_spec

STORY = " ".join(
    f"On day {i} the tide covers the sand road twice, and then only {i} ravens come and go."
    for i in range(24)
)
MODELS = ["--base", str(demo.MODEL)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with training data."""
    (tmp_path / "notes.md").write_text(STORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*argv, adapter=demo.HEALTHY):
    return cli.main(["init", str(adapter), *MODELS, "--data", "notes.md", *argv])


def test_a_suite_is_written_and_loads(folder, capsys):
    assert init() == 0
    assert load_spec("sway.yaml").data == (str(folder / "notes.md"),)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "sway.yaml: 10 entries, from 1 section of text"
    assert "  left out preference_flip: requires 3 preferences; the data has none" in said
    assert said[-1] == "next: sway gate sway.yaml --dry-run, then sway gate sway.yaml"


def test_the_next_command_can_be_copied_if_the_path_has_a_space(folder, capsys):
    assert init("-o", "my spec.yaml") == 0
    assert "then sway gate 'my spec.yaml'" in capsys.readouterr().out.splitlines()[-1]


def test_the_same_input_gives_the_same_bytes(folder):
    assert init() == init("-o", "again.yaml") == 0
    assert (folder / "again.yaml").read_bytes() == (folder / "sway.yaml").read_bytes()


def test_standard_output_contains_only_the_suite(folder, capsys):
    assert init("-o", "-") == 0
    assert parse_spec(capsys.readouterr().out, "x", str(folder)).suite
    assert os.listdir() == ["notes.md"]


def test_dry_run_reads_the_written_suite(folder, capsys):
    assert init() == cli.main(["run", "--dry-run"]) == 0
    assert "moved (delta_kl): " in capsys.readouterr().out


def test_an_existing_suite_is_kept(folder, capsys):
    (folder / "sway.yaml").write_text("mine", encoding="utf-8")
    assert (init(), (folder / "sway.yaml").read_text(encoding="utf-8")) == (2, "mine")
    assert (
        capsys.readouterr().err == "error: sway.yaml already exists; use --force to overwrite it "
        "or -o FILE to write another file\n"
    )
    assert (init("--force"), load_spec("sway.yaml").version) == (0, 1)


REFUSED = {
    "a folder that is not there": (["-o", "x/sway.yaml"], "-o x/sway.yaml: the folder "),
    "a folder": (["-o", "."], "-o .: is a folder; name a file in it"),
    "over the data": (
        ["-o", "notes.md", "--force"],
        "-o notes.md would overwrite the input notes.md",
    ),
    "over the adapter": (["-o", "adapter_config.json"], "has the name of an adapter's file"),
    "an empty name": (["-o", ""], "-o/--output: is empty; give a value"),
    "too long a name": (["-o", "a" * 300 + ".yaml"], "is too long; choose a shorter name"),
    "no such data": (["--data", "none.md"], "none.md: no such file"),
    "a document": (["--data", "a.dlm"], "a.dlm: is a .dlm document; run `sway autogen` on it"),
}


@pytest.mark.parametrize(("argv", "said"), REFUSED.values(), ids=REFUSED)
def test_wrong_targets(folder, capsys, argv, said):
    (folder / "a.dlm").write_text("x", encoding="utf-8")
    assert init(*argv) == 2
    assert said in capsys.readouterr().err
    assert sorted(os.listdir()) == ["a.dlm", "notes.md"]


def test_an_adapter_without_a_base(folder, capsys):
    (folder / "adapter").mkdir()
    assert cli.main(["init", "adapter", "--data", "notes.md"]) == 2
    assert "adapter: adapter_config.json is missing; give the folder" in capsys.readouterr().err
    (folder / "adapter" / "adapter_config.json").write_text("{", encoding="utf-8")
    assert cli.main(["init", "adapter", "--data", "notes.md"]) == 2
    assert "so the base is unknown; give it with --base" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is text")
def test_a_file_name_that_is_not_utf8_is_refused(folder, capsys):
    shutil.copy("notes.md", b"\xff.md")
    assert cli.main(["init", str(demo.HEALTHY), *MODELS, "--data", os.fsdecode(b"\xff.md")]) == 2
    error = capsys.readouterr().err
    assert r"\udcff.md': the file name is not valid UTF-8; rename the file" in error


def test_autogen_needs_a_document(folder, capsys):
    pytest.importorskip("dlm")
    assert cli.main(["autogen", "none.dlm"]) == 2
    assert "none.dlm: no such file" in capsys.readouterr().err


# --------------------------------------------------------------------------- verdicts, by the demo


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "verdict"),
    [(demo.HEALTHY, "pass"), (demo.UNTRAINED, "fail")],
    ids=["healthy", "untrained"],
)
def test_the_written_suite_runs_unchanged(tmp_path, monkeypatch, adapter, verdict):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    argv = ["init", str(adapter), *MODELS, "--data", str(demo.FOLDER / "document.md")]
    assert cli.main(argv) == 0
    result = run_gate(load_spec("sway.yaml"))
    assert (result.verdict, {p.verdict for p in result.probes} & {"error"}) == (verdict, set())


def test_a_missing_base_is_reported(folder, capsys):
    assert cli.main(["init", str(demo.HEALTHY), "--base", "modle", "--data", "notes.md"]) == 0
    assert (
        "  not on this machine: modle; run `sway prefetch sway.yaml`\n" in capsys.readouterr().out
    )


def test_a_missing_base_names_the_nearest_folder(folder, capsys):
    (folder / "model").mkdir()
    assert cli.main(["init", str(demo.HEALTHY), "--base", "modle", "--data", "notes.md"]) == 0
    assert "  not on this machine: modle; did you mean model?\n" in capsys.readouterr().out


def test_online_is_for_the_adapter(folder, capsys, monkeypatch):
    monkeypatch.setattr("sway_gate.model_files.hub._download", lambda *_: demo.HEALTHY)
    assert cli.main(["init", "org/adapter", "--data", "notes.md"]) == 3
    assert cli.main(["init", "org/adapter", "--data", "notes.md", "--online"]) == 0


def test_held_out_rows_and_the_wish_are_written(folder, capsys):
    row = '{"prompt": "How many ravens come on day %d?", "completion": "%d ravens."}\n'
    rows = "".join(row % (day, day) for day in range(8))
    (folder / "unseen.jsonl").write_text(rows, encoding="utf-8")
    assert init("--held-out", "unseen.jsonl", "--learn", "content") == 0
    loaded = load_spec("sway.yaml")
    assert loaded.held_out == (str(folder / "unseen.jsonl"),)
    assert loaded.defaults.learn == "content"
    assert "generalization" in {probe.kind for probe in loaded.suite}
    assert "from 1 section of text and 8 sections held out\n" in capsys.readouterr().out


def test_the_fields_of_the_data_are_written(folder):
    rows = "".join(f'{{"ask": "How many on day {i}?", "say": "{i} ravens."}}\n' for i in range(8))
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    given = ("--data", "rows.jsonl", "--map", "prompt=ask,answer=say", "-o", "mapped.yaml")
    assert cli.main(["init", str(demo.HEALTHY), "--base", str(demo.MODEL), *given]) == 0
    loaded = load_spec("mapped.yaml")
    assert loaded.data_map.fields() == {"prompt": "ask", "answer": "say"}
    assert len(with_data(loaded).sections) == 8


def test_what_was_wanted_is_written_with_its_reason(folder):
    init()
    text = (folder / "sway.yaml").read_text(encoding="utf-8")
    assert "# What training was meant to teach. auto: the gate decides from the questions" in text
    assert "\n  learn: auto\n" in text


@pytest.mark.parametrize("own", [False, True], ids=["none", "in a probe"])
def test_a_spec_for_preferences_needs_some(folder, capsys, own):
    init()
    text = (
        (folder / "sway.yaml")
        .read_text(encoding="utf-8")
        .replace("learn: auto", "learn: preference")
    )
    triple = "{prompt: a, chosen: b, rejected: c}"
    if own:
        text += f"  - {{name: p, kind: preference_flip, triples: [{triple}]}}\n"
    (folder / "sway.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["gate", "--dry-run"]) == (0 if own else 2)
    message = "sway.yaml: learn: preference requires rows with prompt, chosen and rejected"
    assert (message in capsys.readouterr().err) is not own


def test_too_little_data_is_refused(folder, capsys):
    (folder / "notes.md").write_text("Three words only.", encoding="utf-8")
    assert init() == 2
    assert "not sufficient to test whether it was learned" in capsys.readouterr().err
    assert not (folder / "sway.yaml").exists()


def test_few_rows_are_named(folder, capsys):
    rows = [f'{{"question": "Who is keeper {i}?", "answer": "Keeper {i}."}}\n' for i in range(5)]
    (folder / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    assert cli.main(["init", str(demo.HEALTHY), *MODELS, "--data", "rows.jsonl"]) == 0
    says = "cannot pass by content: 5 rows reach at most 2.4σ, 7 are needed for 3σ; add rows"
    assert says in capsys.readouterr().out
    assert says in " ".join((folder / "sway.yaml").read_text("utf-8").replace("#", "").split())
