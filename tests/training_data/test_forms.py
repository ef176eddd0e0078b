"""Every form in the table is read, from every kind of file."""

import json

import pytest

from sway_gate.spec.schema import Pair
from sway_gate.training_data import forms as shapes
from sway_gate.training_data.load import load_sections
from tests.training_data.forms import FILES, FORMS, ROWS, FileForm, Form


def texts(pair):
    fields = ("prompt", "gold") if isinstance(pair, Pair) else ("prompt", "chosen", "rejected")
    return tuple(getattr(pair, field) for field in fields)


def sections(path):
    return load_sections([str(path)]).sections


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_row_becomes_its_pairs(tmp_path, form: Form):
    path = tmp_path / "train.json"
    path.write_text(json.dumps([form.row]), encoding="utf-8")
    (found,) = sections(path)
    assert (found.kind, found.content) == (form.kind, form.content)
    assert tuple(texts(pair) for pair in found.pairs) == form.pairs
    assert {pair.form for pair in found.pairs} == ({form.format} if form.format else set())


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_arrow_gives_the_same_rows_as_json(tmp_path, form: Form):
    """Arrow adds the fields of other rows as null and has no objects without fields."""
    pa = pytest.importorskip("pyarrow")
    if isinstance(form.row, list) or "in parts" in form.name:
        pytest.skip("not a table, or a column of texts and lists")
    path = tmp_path / "train.arrow"
    more = {name: None for name in ("prompt", "text", "messages", "label") if name not in form.row}
    table = pa.Table.from_pylist([form.row | more])
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "train.json").write_text(json.dumps([form.row]), encoding="utf-8")
    assert sections(path)[0].pairs == sections(tmp_path / "train.json")[0].pairs


def test_every_shape_has_a_form():
    used = {
        next(s.fields for s in shapes.SHAPES if all(row.get(f) is not None for f in s.fields))
        for row in (form.row for form in FORMS)
        if isinstance(row, dict)
    }
    assert used == {shape.fields for shape in shapes.SHAPES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.name}, {file.file}")
def test_each_kind_of_file_gives_its_rows(tmp_path, file: FileForm):
    path = tmp_path / file.file
    file.write(path, ROWS)
    found = sections(path)
    assert [texts(*section.pairs) for section in found] == [tuple(row.values()) for row in ROWS]
    name = {"data": "a.jsonl"}.get(file.file, file.file)
    if not path.is_dir() or file.file == "data":
        assert found[0].tag == f"Question 0? ({name}:{file.first})"
