"""The pipelines in examples/ci fit their schemas, and their commands are commands of `sway`."""

import re
import shlex
import subprocess
import sys

import pytest

from sway_gate import cli
from tests.helpers import ROOT

FOLDER = ROOT / "examples" / "ci"
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
SCHEMAS = {"circleci.yml": "circle-ci", "azure-pipelines.yml": "azure-pipelines"}
FILES = [*SCHEMAS, "Jenkinsfile"]
GITLAB = PAGE.partition("## GitLab CI")[2].partition("\n## ")[0]
TEXTS = {name: (FOLDER / name).read_text(encoding="utf-8") for name in FILES} | {"gitlab": GITLAB}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items(), ids=SCHEMAS)
def test_a_pipeline_fits_its_schema(name, schema):
    pytest.importorskip("check_jsonschema")
    call = (
        "-m",
        "check_jsonschema",
        "--regex-variant=nonunicode",
        "--builtin-schema",
        f"vendor.{schema}",
        str(FOLDER / name),
    )
    done = subprocess.run([sys.executable, *call], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_jenkinsfile_is_a_declarative_pipeline():
    text = re.sub(r"'[^']*'|//.*", "''", TEXTS["Jenkinsfile"])
    blocks, path = [], []
    for word, brace in re.findall(r"(\w+)?(?:\([^)]*\))?\s*([{}])", text):
        if brace == "{":
            path.append(word)
            blocks.append(".".join(path))
        else:
            path.pop()
    assert path == []
    assert blocks == [
        *("pipeline", "pipeline.agent", "pipeline.agent.docker", "pipeline.stages"),
        *("pipeline.stages.stage", "pipeline.stages.stage.steps"),
        *("pipeline.post", "pipeline.post.always"),
    ]


@pytest.mark.parametrize("name", TEXTS)
def test_the_commands_are_valid_and_their_test_report_is_published(name):
    commands = re.findall(r"\bsway ((?:prefetch|gate) [^'\n]*)", TEXTS[name])
    parsed = [cli._parser(argv).parse_args(argv) for argv in map(shlex.split, commands)]
    assert [args.spec for args in parsed] == ["sway.yaml", "sway.yaml"]
    assert parsed[1].confine == "."
    assert TEXTS[name].count(parsed[1].junit.rpartition("/")[2]) >= (1 if "circle" in name else 2)


def test_the_page_links_each_file():
    assert {path.name for path in FOLDER.iterdir()} == {*FILES}
    assert [name for name in FILES if f"(../examples/ci/{name})" not in PAGE] == []
