"""Which specs changed files concern."""

import pytest

from sway_gate.errors import UsageError
from sway_gate.gate import changed
from sway_gate.gate.changed import concerned

SPEC = """\
models:
  base: {base: ./model}
  ft: {base: ./model, adapter: ../runs/%s}
data: [rows.jsonl, ../shared]
held_out: unseen.jsonl
dlm_source: notes.dlm
sections: [{kind: prose, content: prompt.txt}]
suite: [{name: a, kind: adapter_revert, embedding_model: ./embedder}]
"""


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """Packages, one of them hidden, and specs that are not found: by name, or by their folder."""
    files = {
        "legal/sway.yaml": SPEC % "legal",
        "poems/new.sway.yaml": SPEC % "poems",
        "poems/mysway.yaml": SPEC % "legal",
        ".hidden/a.sway.yml": SPEC % "hidden",
        "odes/sway.yml": SPEC % "odes",
        ".git/sway.yaml": SPEC % "hidden",
        "env/pyvenv.cfg": "",
        "env/lib/sway.yaml": SPEC % "legal",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LEGAL, POEMS = "legal/sway.yaml", "poems/new.sway.yaml"
HIDDEN, ODES = ".hidden/a.sway.yml", "odes/sway.yml"
CASES = {
    "a spec": ([LEGAL], [LEGAL]),
    "a spec of another name": (["./poems/mysway.yaml"], ["poems/mysway.yaml"]),
    "a spec, twice": ([LEGAL, f"./{LEGAL}"], [LEGAL]),
    "a spec and its adapter": (["runs/legal/adapter_config.json", LEGAL], [LEGAL]),
    "an adapter": (["runs/poems/adapter_model.safetensors"], [POEMS]),
    "a neighbour of an adapter": (["runs/poems2/adapter_model.safetensors"], []),
    "a data file": (["legal/rows.jsonl"], [LEGAL]),
    "a file of a shared folder": (["shared/a/b.csv"], [HIDDEN, LEGAL, ODES, POEMS]),
    "held-out rows": (["poems/unseen.jsonl"], [POEMS]),
    "a document": (["poems/notes.dlm"], [POEMS]),
    "a base": (["legal/model/model.safetensors"], [LEGAL]),
    "an embedding model": (["legal/embedder/model.safetensors"], [LEGAL]),
    "a path that is only a text": (["legal/prompt.txt"], []),
    "another file": (["README.md"], []),
    "waivers": (["poems/.sway-waivers.yaml"], [POEMS]),
    "waivers of another folder": ([".sway-waivers.yaml"], []),
    "an adapter of a hidden package": (["runs/hidden/adapter_config.json"], [HIDDEN]),
    "an adapter of a .yml": (["runs/odes/adapter_config.json"], [ODES]),
    "two packages": (["poems/rows.jsonl", LEGAL], [LEGAL, POEMS]),
}


@pytest.mark.parametrize(("files", "specs"), CASES.values(), ids=CASES)
def test_specs_of_files(files, specs):
    assert concerned(files) == specs


def test_deleted_files_concern_the_specs_that_name_them_but_are_no_specs():
    assert concerned([], ["runs/poems/adapter_config.json", "gone/sway.yaml"]) == [POEMS]


def test_a_path_can_be_relative_to_the_current_folder(repository):
    (repository / LEGAL).write_text("data: poems/other.jsonl\n", encoding="utf-8")
    assert concerned(["poems/other.jsonl"]) == [LEGAL]


def test_a_link_leads_to_its_target(repository):
    (repository / "runs" / "v1").mkdir(parents=True)
    (repository / "runs" / "legal").symlink_to("v1")
    assert concerned(["runs/v1/adapter_config.json"]) == [LEGAL]


def test_a_link_inside_a_named_folder_is_a_file_of_it(repository):
    (repository / "runs" / "legal").mkdir(parents=True)
    (repository / "runs" / "legal" / "adapter_model.safetensors").symlink_to("../../store/1")
    assert concerned(["runs/legal/adapter_model.safetensors"]) == [LEGAL]


@pytest.mark.parametrize("text", ["data: [", "", "\xff"])
def test_a_spec_that_cannot_be_read_is_gated_so_that_its_error_is_reported(repository, text):
    (repository / "poems" / "new.sway.yaml").write_text(text, encoding="latin-1")
    assert concerned(["legal/rows.jsonl"]) == [LEGAL, POEMS]


def test_a_spec_with_mistakes_is_found_by_its_paths(repository):
    (repository / LEGAL).write_text("models: {ft: {adapter: ../runs/x}}\n", encoding="utf-8")
    assert concerned(["runs/x/adapter_config.json"]) == [LEGAL]
    assert concerned(["runs/y/adapter_config.json"]) == []


def test_there_is_a_limit(monkeypatch):
    monkeypatch.setattr(changed, "MAX_SPECS", 1)
    with pytest.raises(UsageError, match="more than 1 specs"):
        concerned(["a.jsonl"])
