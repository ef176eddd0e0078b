"""The README agrees with the package: its demo output, its spec, its commands."""

import re
from pathlib import Path

import pytest

from sway_gate import cli, probes
from sway_gate.errors import SpecError
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS
from tests.helpers import ROOT
from tools import readme_demo

README = (ROOT / "README.md").read_text(encoding="utf-8")


def words(block: str) -> list[str]:
    """Words of the first text block, without digits and bars, which depend on the machine."""
    return re.sub(r"[\W\d_]+", " ", block.split("```text\n")[1].split("```")[0]).split()


def test_the_demo_output_is_what_the_demo_prints() -> None:
    demo = readme_demo.MARKS.search(README)
    assert demo is not None
    assert words(demo[0]) == words(readme_demo.shown())


def test_the_spec_in_the_readme_loads(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(version: 1.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "runs" / "adapter").mkdir(parents=True)
    assert len(parse_spec(block[1], "README.md", str(tmp_path)).suite) == 6


def test_the_mistake_reads_as_shown(tmp_path: Path) -> None:
    models = "{base: {base: o/m}, ft: {base: o/m, adapter: o/a}}"
    text = f"version: 1\nmodels: {models}\nsuite:\n- {{name: a, kind: delta_kl, promts: []}}"
    message = r"suite\[0\] \(delta_kl\): unknown field 'promts'; did you mean 'prompts'\?"
    with pytest.raises(SpecError, match=message):
        parse_spec(text, "sway.yaml", str(tmp_path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_probes_states_each_category(kind: str) -> None:
    row = re.search(rf"^\| \[`{kind}`\]\(docs/probes/{kind}.md\) \| ([^|;]+)", README, re.M)
    assert row is not None, f"README.md: the list of probes has no row for {kind}"
    stated = probes.module(kind).KIND if KINDS[kind].is_probe else None
    category = f"{stated.category}{', harm' if stated.harm else ''}" if stated else "baseline"
    assert row[1].strip() == category


COMMANDS = sorted(set(re.findall(r"\bsway(?:-gate)? ([a-z]+)", README)) - {"sway", "yaml"})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert command in capsys.readouterr().out
