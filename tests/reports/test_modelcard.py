"""The model card: valid for huggingface_hub, without paths of this machine, and escaped."""

import re
from typing import Any

import pytest
import yaml
from msgspec import structs

from sway_gate.reports.modelcard import MAX_PROBES, public_name, render
from sway_gate.results import AppliedWaiver, GateResult, ModelFacts, Verdict
from tests.helpers import results as helper


def front_matter(card: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(card.removeprefix("---\n").partition("\n---\n")[0])
    return found


MAKE = [helper.healthy, helper.sick, helper.undecided, helper.hostile, helper.chat]


@pytest.mark.parametrize("make", MAKE, ids=lambda make: make.__name__)
def test_the_hub_reads_the_card(make: Any, tmp_path: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "README.md"
    path.write_text(render(make()), encoding="utf-8")
    data = hub.metadata_load(path)
    card = hub.ModelCard.load(path)
    assert card.data.model_name == data["model-index"][0]["name"]
    assert len(card.data.eval_results) == len(data["model-index"][0]["results"][0]["metrics"])
    values = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert values["sway_gate_verdict"] == make().verdict
    assert card.data.to_dict()["model-index"] == data["model-index"]
    assert card.text.lstrip().startswith("## Release gate")


def test_the_numbers_are_those_of_the_result() -> None:
    result = helper.healthy()
    [found] = front_matter(render(result))["model-index"][0]["results"]
    numbers = {one["name"]: one["value"] for one in found["metrics"]}
    assert numbers["composite"] == result.score
    assert numbers["voice (delta_kl), nats"] == 0.183
    assert "style_fingerprint" not in numbers  # it was skipped and has no value


SECRET = "/home/secret/runs"
PATHS = {
    "Linux": (f"{SECRET}/lora", f"{SECRET}/base", f"{SECRET}/sway.yaml"),
    "Windows": (r"C:\Users\secret\lora", r"\\secret\base", r"D:\secret\sway.yaml"),
    "relative": ("secret/lora", "secret/base", "secret/sway.yaml"),
}


@pytest.mark.parametrize(("adapter", "base", "spec"), PATHS.values(), ids=PATHS)
def test_no_folder_of_this_machine_is_named(adapter: str, base: str, spec: str) -> None:
    def facts(path: str) -> ModelFacts:
        return ModelFacts(path=path, digest="")

    for make in (helper.healthy, helper.sick, helper.undecided):
        result = structs.replace(
            make(), adapter=facts(adapter), base=facts(base), spec=spec, notes=(adapter,)
        )
        card = render(result)
        assert "secret" not in card
        assert "sway gate sway.yaml" in card
        assert "base: base" in card


def test_a_model_of_the_hub_has_its_id_and_its_revision() -> None:
    assert "base: HuggingFaceTB/SmolLM2-135M at 93efa2f0" in render(helper.healthy())


NAMES = {
    "a/b/": "b",
    "/": "unnamed",
    "..": "unnamed",
    "<stdin>": "<stdin>",
    "a\\b c": "b c",
    "x" * 200: "x" * 99 + "…",
}


@pytest.mark.parametrize(("path", "name"), NAMES.items())
def test_public_names(path: str, name: str) -> None:
    assert public_name(path) == name


def test_the_command_repeats_the_run() -> None:
    card = render(structs.replace(helper.healthy(), spec="it's my.yaml"))
    assert "sway gate 'it'\"'\"'s my.yaml'" in card
    assert 'pip install "sway-gate[hf]==0.1.0"' in card
    card = render(structs.replace(helper.healthy(), spec="sway check"))
    assert "sway check lora --base HuggingFaceTB/SmolLM2-135M # and the same --data" in card


def test_a_forged_version_is_not_part_of_the_command() -> None:
    card = render(structs.replace(helper.healthy(), versions={"sway-gate": '1"; rm -rf ~ #'}))
    assert 'pip install "sway-gate[hf]"\n' in card


def waived() -> GateResult:
    own = AppliedWaiver(
        reason="known <b>", by="Ada", expires="2027-01-31", verdict=Verdict.FAIL, is_expired=False
    )
    probe = helper.leakage(verdict="waived", score=None, waiver=own)
    return helper.result(helper.probe(), probe)


def test_waivers_are_listed() -> None:
    card = render(waived())
    assert "1 finding waived" in card
    assert re.search(r"- verbatim: known &#60;b&#62; \(Ada, until 2027-01-31\)", card)


def test_hostile_text_makes_no_markup_and_no_front_matter() -> None:
    bad = "x\n---\n\n# Heading\n<script>alert(1)</script> ```\n[a](javascript:b) @user"
    result = structs.replace(
        helper.hostile(), adapter=ModelFacts(path=bad, digest=bad), spec=bad, versions={bad: bad}
    )
    card = render(result)
    _, _, body = card.partition("\n---\n")
    assert front_matter(card).keys() == {"model-index"}
    assert "<script" not in body.replace("sway gate", "").split("```bash")[0]
    assert not re.search(r"^# Heading", body, re.MULTILINE)
    assert body.count("```") == 2 + body.split("```bash\n")[1].split("\n```\n")[0].count("```")
    assert "\x1b" not in card
    assert "\u202e" not in card


def test_many_probes_are_limited() -> None:
    card = render(helper.result(*(helper.probe(f"p{i}") for i in range(300))))
    assert len(front_matter(card)["model-index"][0]["results"][0]["metrics"]) == MAX_PROBES + 2
    assert "and 200 more in the JSON report" in card
