"""`sway mine` on a model whose continuation depends only on the last word of the prompt."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from sway_gate import cli, demo
from sway_gate.engine.estimate import Estimate
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import DeltaKL, ParaphraseInvariance
from sway_gate.spec.schema import Spec
from sway_gate.suites import mine

LEARNED = "the old mill by the river grinds the corn of the whole valley"
CASE = (
    "{prompt: the old mill by the river, gold: grinds the corn, "
    "paraphrases: [near the river, a yellow dog, my cat]}"
)
UNLEARNED = "{prompt: my yellow dog, gold: barks and barks, paraphrases: [a dog]}"
CASES = f"{{name: asked, kind: paraphrase_invariance, cases: [{CASE}]}}"
MOVED = (
    "{name: moved, kind: delta_kl, "
    "prompts: [the old mill, my yellow dog, by the river, a silver cat, the whole]}"
)


def loaded(*suite: str, more: str = "") -> Spec:
    models = f"{{base: {{kind: dummy, base: b}}, ft: {{kind: dummy, base: b, adapter: {LEARNED}}}}}"
    return parse_spec(
        f"version: 1\nmodels: {models}\nsuite: [{', '.join(suite)}]\n{more}", "s.yaml", "."
    )


def entries(mined: mine.Mined, given: Spec) -> list[Any]:
    """What was mined, as the spec's loader reads it in the suite that it was mined from."""
    models = "models: {base: {kind: dummy, base: b}, ft: {kind: dummy, base: b, adapter: a}}"
    text = f"version: 1\n{models}\nsuite:\n{mined.entries}"
    assert {probe.name for probe in given.suite}.isdisjoint(
        e["name"] for e in yaml.safe_load(text)["suite"]
    )
    return list(parse_spec(text, "mined", ".").suite)


def paraphrases(*suite: str, limit: int = 5, more: str = "") -> tuple[mine.Mined, list[Any]]:
    given = loaded(*suite, more=more)
    mined = mine.weak_paraphrases(given, limit)
    return mined, entries(mined, given) if mined.entries else []


def test_paraphrases_that_take_lift_are_found_the_weakest_first() -> None:
    mined, [entry] = paraphrases(CASES)
    assert isinstance(entry, ParaphraseInvariance)
    [case] = entry.cases
    assert (case.prompt, case.gold) == ("the old mill by the river", "grinds the corn")
    assert {"a yellow dog", "my cat"} <= set(case.paraphrases)
    assert "near the river" not in case.paraphrases
    assert mined.kept == len(case.paraphrases)
    assert mined.tried > 3, "no rule made another"


def test_no_more_are_kept_than_asked_for() -> None:
    assert len(paraphrases(CASES, limit=1)[1][0].cases[0].paraphrases) == 1


def test_the_lift_stands_beside_each() -> None:
    text = paraphrases(CASES)[0].entries
    losses = [
        float(line.split(",")[1].split()[0]) for line in text.splitlines() if line.endswith(" less")
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 0


def test_what_was_not_learned_has_nothing_to_lose() -> None:
    mined, found = paraphrases(
        f"{{name: asked, kind: paraphrase_invariance, cases: [{CASE}, {UNLEARNED}]}}"
    )
    assert [case.prompt for case in found[0].cases] == ["the old mill by the river"]
    assert mined.notes == ("left out answers without a gain after their own prompt: 1",)


@pytest.mark.parametrize("intent", ["memorize", "generalize", "both"])
def test_the_suites_intent_is_kept(intent: str) -> None:
    assert paraphrases(CASES.replace("cases:", f"intent: {intent}, cases:"))[1][0].intent == intent


def test_without_cases_the_questions_of_the_data_are_asked() -> None:
    pair = "{prompt: What of the mill by the river?, gold: the river grinds}"
    mined, _ = paraphrases(MOVED, more=f"sections: [{{kind: instruction, pairs: [{pair}]}}]")
    assert mined.tried >= 3


def test_a_name_that_is_taken_gets_a_number() -> None:
    taken = CASES.replace("name: asked", "name: mined_paraphrases")
    assert paraphrases(taken)[1][0].name == "mined_paraphrases_2"


def outliers(*suite: str, limit: int = 5, more: str = "") -> tuple[mine.Mined, list[Any]]:
    given = loaded(*suite, more=more)
    mined = mine.outliers(given, limit)
    return mined, entries(mined, given)


def test_the_prompts_moved_least_and_most_are_found() -> None:
    mined, [least, most] = outliers(MOVED, limit=2)
    assert isinstance(least, DeltaKL)
    assert isinstance(most, DeltaKL)
    assert set(least.prompts) == {"my yellow dog", "a silver cat"}
    assert set(most.prompts) < {"the old mill", "by the river", "the whole"}
    assert (mined.kept, mined.tried) == (4, 5)


def test_no_prompt_is_among_both_least_and_most_moved() -> None:
    _, [least, most] = outliers(MOVED, limit=50)
    assert (len(least.prompts), len(most.prompts)) == (2, 2)
    assert set(least.prompts).isdisjoint(most.prompts)


def test_one_prompt_alone_is_the_one_moved_least() -> None:
    assert [e.name for e in outliers("{name: m, kind: delta_kl, prompts: [the mill]}")[1]] == [
        "mined_moved_least"
    ]


def test_all_prompts_are_measured_although_the_spec_has_a_time_budget(monkeypatch: Any) -> None:
    monkeypatch.setattr(Estimate, "seconds", lambda *_: 1e9)
    assert outliers(MOVED, more="defaults: {budget: 60s}")[1] == outliers(MOVED)[1]


def test_prompts_of_every_kind_and_of_the_data_are_tried() -> None:
    curve = "{name: curve, kind: adapter_ablation, prompts: [the old mill, valley]}"
    off = "{name: asleep, kind: delta_kl, prompts: [never], enabled: false}"
    pair = "{prompt: the corn, gold: of the whole valley}"
    mined, _ = outliers(
        MOVED, curve, off, more=f"sections: [{{kind: instruction, pairs: [{pair}]}}]"
    )
    assert mined.tried == 5 + 1 + 1


TEXTS = [
    "'quote: \"it\" # no comment'",
    '"two\\nlines\\n"',
    '"\\u2028"',
    "'- {a: b}'",
    "'   spaces  '",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    _, [found] = outliers(f"{{name: m, kind: delta_kl, prompts: [{text}]}}")
    assert list(found.prompts) == [yaml.safe_load(text)]


NOTHING = {
    "no case": (mine.weak_paraphrases, MOVED, "there is nothing to paraphrase"),
    "no prompt": (mine.outliers, CASES, "there is no prompt"),
}


@pytest.mark.parametrize(("search", "suite", "words"), NOTHING.values(), ids=NOTHING)
def test_nothing_to_mine_is_said(search: Any, suite: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        search(loaded(suite), 5)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    models = f"{{base: {{kind: dummy, base: b}}, ft: {{kind: dummy, base: b, adapter: {LEARNED}}}}}"
    Path("sway.yaml").write_text(
        f"version: 1\nmodels: {models}\nsuite: [{CASES}, {MOVED}]\n", encoding="utf-8"
    )
    return tmp_path


def test_the_command_writes_a_file(folder: Path, capsys: Any) -> None:
    assert cli.main(["mine", "--mode", "outliers", "-n", "1", "-o", "mined.yaml"]) == 0
    assert len(yaml.safe_load(Path("mined.yaml").read_text("utf-8"))["suite"]) == 2
    assert capsys.readouterr() == ("", "mined.yaml: 2 of 5 texts\n")


def test_standard_output_holds_the_fragment_alone(folder: Path, capsys: Any) -> None:
    assert cli.main(["mine"]) == 0
    assert [e["kind"] for e in yaml.safe_load(capsys.readouterr().out)["suite"]] == [
        "paraphrase_invariance"
    ]


REFUSED = {
    "over the spec": (["-o", "sway.yaml"], "would overwrite the input sway.yaml"),
    "no folder": (["-o", "none/m.yaml"], "does not exist; create it first"),
    "a folder": (["-o", "."], "is a folder"),
    "none": (["-n", "0"], "must be a whole number of 1 or more"),
    "another mode": (["--mode", "gold"], "must be paraphrase or outliers, got 'gold'"),
}


@pytest.mark.parametrize(("argv", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(folder: Path, capsys: Any, argv: list[str], words: str) -> None:
    assert cli.main(["mine", *argv]) == 2
    assert words in capsys.readouterr().err


def test_an_adapter_that_never_learned_has_no_weakest_prompt(tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(demo.HEALTHY, tmp_path / "adapter"))
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {n: x * np.float32("lora_B" not in n) for n, x in weights.items()},
        adapter / "adapter_model.safetensors",
    )
    base = demo.MODEL.as_posix()
    models = f"{{base: {{base: {base}}}, ft: {{base: {base}, adapter: ./adapter}}}}"
    given = parse_spec(f"version: 1\nmodels: {models}\nsuite: [{MOVED}]\n", "s.yaml", str(tmp_path))
    with pytest.raises(CannotDecide, match=r"nothing can be mined: .*never"):
        mine.outliers(given, 5)
