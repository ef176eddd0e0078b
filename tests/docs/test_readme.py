"""What the README shows is what happens: its demo output, its spec, its commands."""

import re
from pathlib import Path

import pytest

from sway_gate import cli
from sway_gate.errors import SpecError
from sway_gate.spec.load import parse_spec
from tests.helpers import ROOT
from tools import readme_demo

README = (ROOT / "README.md").read_text(encoding="utf-8")


def words(block: str) -> list[str]:
    """Of the first text block: without the digits and bars that rounding on another machine may change."""
    return re.sub(r"[\W\d_]+", " ", block.split("```text\n")[1].split("```")[0]).split()


def test_the_demo_output_is_what_the_demo_prints() -> None:
    held = readme_demo.MARKS.search(README)
    assert held is not None
    assert words(held[0]) == words(readme_demo.shown())


def test_the_spec_in_the_readme_loads(tmp_path: Path) -> None:
    text = (
        re.search(r"```yaml\nversion: 1.*?```", README, re.DOTALL)[0]
        .strip("`")
        .removeprefix("yaml")
    )  # type: ignore[index]
    (tmp_path / "runs" / "adapter").mkdir(parents=True)
    assert len(parse_spec(text, "README.md", str(tmp_path)).suite) == 6


def test_the_mistake_reads_as_shown(tmp_path: Path) -> None:
    models = "{base: {base: o/m}, ft: {base: o/m, adapter: o/a}}"
    text = f"version: 1\nmodels: {models}\nsuite:\n- {{name: a, kind: delta_kl, promts: []}}"
    with pytest.raises(
        SpecError,
        match=r"suite\[0\] \(delta_kl\): unknown field 'promts'; did you mean 'prompts'\?",
    ):
        parse_spec(text, "sway.yaml", str(tmp_path))


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"\bsway(?:-gate)? ([a-z]+)", README)) - {"sway", "yaml"})
)
def test_every_command_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert command in capsys.readouterr().out
