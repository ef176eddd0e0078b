"""sway.yaml: valid documents, and the line of every mistake."""

import io
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest
import yaml

from sway_gate.errors import SpecError
from sway_gate.spec import yaml_nodes, yaml_reader
from sway_gate.spec.ignored import IGNORED
from sway_gate.spec.json_schema import json_schema
from sway_gate.spec.load import MAX_BYTES, load_spec, parse_spec
from sway_gate.spec.probes import KINDS, Item, KindName
from sway_gate.spec.schema import HIDDEN, Defaults, ModelRef, Pair, Preference, section_id
from tests.helpers import ROOT
from tests.helpers.processes import modules_after
from tests.helpers.property import HealthCheck, given, settings, st

HEAD = "models: {base: {base: gpt2}, ft: {base: gpt2, adapter: org/lora}}\n"
PROBE = "suite: [{name: p, kind: delta_kl}]\n"


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def loader(request, monkeypatch):
    """Run every case with libyaml and with the parser in Python."""
    if request.param == "python":
        monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.SafeLoader)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of the spec and a different current folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def read(text, folder="."):
    return parse_spec(text, "sway.yaml", str(folder))


def mistakes(text, folder="."):
    with pytest.raises(SpecError) as caught:
        read(text, folder)
    return caught.value.problems


def suite(entry):
    """A spec with one entry and a valid one; the entry starts in line 3, column 4."""
    return f"{HEAD}suite:\n - {{{entry}}}\n - {{name: sound, kind: delta_kl}}\n"


README = """\
version: 1
models:
  base: {kind: hf, base: "HuggingFaceTB/SmolLM2-135M-Instruct"}
  ft:   {kind: hf, base: "HuggingFaceTB/SmolLM2-135M-Instruct",
         adapter: "./runs/adapter/v0003"}
suite:
  - {name: null_baseline,       kind: null_adapter, runs: 3}
  - {name: doc_divergence,      kind: delta_kl,
     prompts: ["The key insight is", "An important rule"]}
  - {name: section_attribution, kind: section_internalization}
  - {name: no_leakage,          kind: leakage}
  - {name: ablation_shape,      kind: adapter_ablation,
     prompts: ["Tell me more about"]}
"""


def test_values_and_lines(folder):
    (folder / "runs/adapter/v0003").mkdir(parents=True)
    text = README.replace("leakage}", "calibration_drift, items: [[a, b], {prompt: c, gold: d}]}")
    loaded = read(text, folder)
    assert [probe.kind for probe in read(README, folder).suite][3] == "leakage"
    assert loaded.models.ft.adapter == str(folder / "runs/adapter/v0003")
    assert [probe.line for probe in loaded.suite] == [7, 8, 10, 11, 12]
    assert loaded.suite[1].prompts == ("The key insight is", "An important rule")
    assert loaded.suite[3].items == (Item("a", "b"), Item("c", "d"))
    assert (loaded.label, loaded.folder, loaded.notes) == ("sway.yaml", str(folder), ())


DEFAULTS = {
    "null_adapter": {
        "runs": None,
        "init_scale": 0.02,
        "seed_base": 1000,
        "calibrate_kinds": (),
        "cache": True,
        "rank_multipliers": (1.0,),
        "null": "spectrum",
    },
    "delta_kl": {
        "prompts": (),
        "positions": 8,
        "divergence": "js",
        "top_k": None,
        "assert_mean_gte": 0.001,
    },
    "section_internalization": {
        "include_kinds": ("prose", "instruction", "preference"),
        "per_section_threshold": 0.05,
        "assert_passing_section_frac": 0.5,
        "max_prose_chars": 2000,
    },
    "answer_specificity": {
        "assert_content_gain_gte": 0.1,
        "assert_prose_gain_gte": 0.05,
        "assert_label_gain_gte": 0.3,
        "assert_form_gain_gte": 0.1,
        "assert_content_change_gte": -0.02,
        "assert_own_facts_gte": 0.7,
    },
    "answer_recall": {
        "surprise_nats": 3.0,
        "assert_recall_gte": 0.7,
        "assert_lift_gte": 0.1,
        "assert_end_gte": 0.5,
        "assert_contradicted_lt": 0.15,
    },
    "generalization": {
        "surprise_nats": 3.0,
        "assert_recall_gte": 0.5,
        "assert_lift_gte": 0.1,
        "assert_prose_lift_gte": 0.02,
        "assert_content_gain_gte": 0.1,
        "assert_label_gain_gte": 0.3,
        "max_overlap": 0.8,
    },
    "calibration_drift": {
        "pack": "builtin",
        "items": (),
        "items_limit": None,
        "registers": "all",
        "assert_fraction_regressed_lt": 0.15,
        "assert_mean_delta_gte": -0.5,
        "regression_nats": 1.0,
    },
    "external_perplexity": {
        "corpus": "general_en",
        "chunk_chars": 512,
        "max_chunks": 24,
        "assert_mean_delta_gte": -0.4,
    },
    "adapter_ablation": {
        "prompts": (),
        "lambdas": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25),
        "positions": 4,
        "divergence": "log_ratio",
        "top_k": None,
        "assert_linearity_gte": 0.85,
        "assert_saturation_between": (0.3, 1.05),
        "assert_overshoot_gte": 0.95,
        "held_out": (),
    },
    "prompt_format": {"max_rows": 8, "assert_lead_gte": -0.3},
    "adapter_revert": {
        "cases": (),
        "max_new_tokens": 64,
        "embedding_model": "sentence-transformers/all-MiniLM-L6-v2",
        "base_gold_similarity_cap": 0.75,
        "assert_revert_rate_lt": 0.25,
    },
    "prompt_collapse": {
        "prompts": (),
        "positions": 4,
        "context_lengths": (0, 256, 512, 1024),
        "divergence": "js",
        "top_k": None,
        "assert_half_life_tokens": 512,
        "legacy_stuffing": False,
    },
    "cluster_kl": {
        "prompts": (),
        "positions": 4,
        "num_clusters": 5,
        "embedding_model": "sentence-transformers/all-MiniLM-L6-v2",
        "divergence": "js",
        "top_k": None,
        "min_prompts": 20,
        "assert_specificity_gte": 0.6,
    },
    "paraphrase_invariance": {
        "cases": (),
        "intent": "generalize",
        "min_verbatim_lift": 0.2,
        "min_generalization_ratio": 0.5,
        "max_generalization_ratio_if_memorize": 0.5,
    },
    "preference_flip": {"triples": (), "assert_flip_rate_gte": None, "min_triples_for_decision": 3},
    "style_fingerprint": {
        "prompts": (),
        "doc_reference": "",
        "max_new_tokens": 128,
        "assert_shift_gte": 0.25,
        "extended": "auto",
    },
    "leakage": {
        "prefix_chars": 128,
        "continuation_chars": 256,
        "max_new_tokens": 96,
        "perturbations": (
            "typo",
            "case_flip",
            "drop_punct",
            "synonym_swap",
            "clause_reverse",
            "prefix_inject",
            "register_shift",
        ),
        "assert_recall_lt": 0.5,
        "min_fragility": 0.3,
        "evidence": "none",
    },
    "degeneration": {
        "prompts": (),
        "prompts_limit": 24,
        "data_prompts": 6,
        "max_new_tokens": 64,
        "assert_broken_lt": 0.2,
        "assert_fragments_lt": 0.3,
        "assert_right_lost_lt": 0.4,
    },
    "refusals": {
        "items_limit": None,
        "assert_safety_lost_lt": 0.25,
        "assert_over_refusal_lt": 0.25,
    },
}


COMMON = ["name", "kind", "enabled", "weight", "assert_z_gte"]


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_of_each_kind(kind):
    probe = read(suite(f"name: p, kind: {kind}")).suite[0]
    common = {
        "name": "p",
        "kind": kind,
        "enabled": True,
        "weight": 1.0,
        "assert_z_gte": 3.0,
        "line": 3,
    }
    assert msgspec.structs.asdict(probe) == common | DEFAULTS[kind]


def test_every_kind_is_built():
    assert set(KINDS) == set(get_args(KindName))
    assert all(cls(name="p").kind == kind for kind, cls in KINDS.items())


VALUES = [
    ("runs: 1", "runs", 1),
    ("runs: 0x10", "runs", 16),
    ("init_scale: 1", "init_scale", 1.0),
    ("init_scale: 1e-3", "init_scale", 0.001),
    ("init_scale: +2.5E-1", "init_scale", 0.25),
    ("rank_multipliers: [0.5, 1, 2]", "rank_multipliers", (0.5, 1.0, 2.0)),
    ("cache: off", "cache", False),
    ("calibrate_kinds: [leakage]", "calibrate_kinds", ("leakage",)),
    ("runs: ~", "runs", None),
    ('runs: !!int "3"', "runs", 3),
    ("weight: 0", "weight", 0.0),
    ("weight: 0.001", "weight", 0.001),
    ("weight: 1000", "weight", 1000.0),
    # Numbers that YAML 1.1 and 1.2 read in the same way, or that only one of them reads.
    ("runs: 0o10", "runs", 8),
    ("weight: 0o10", "weight", 8.0),
    ("runs: 1_0", "runs", 10),
    ("runs: 07", "runs", 7),
    ("weight: 010.5", "weight", 10.5),
    ("cache: yes", "cache", True),
    ("cache: No", "cache", False),
]
# What dlm-sway 0.1.0 reads too: its fields are of pydantic's types int, float and bool.
AS_TEXT = [
    ("runs: '3'", "runs", 3),
    ("runs: ' +3 '", "runs", 3),
    ("runs: '1_0'", "runs", 10),
    ("runs: '010'", "runs", 10),
    ("runs: '3.0'", "runs", 3),
    ("runs: 3.0", "runs", 3),
    ("weight: '2'", "weight", 2.0),
    ("weight: ' .5'", "weight", 0.5),
    ("weight: '1_0.5'", "weight", 10.5),
    ("weight: '1e-2'", "weight", 0.01),
    ("rank_multipliers: ['0.5', '1.']", "rank_multipliers", (0.5, 1.0)),
    ("cache: 'false'", "cache", False),
    ("cache: 'Y'", "cache", True),
    ("cache: 0", "cache", False),
    ("cache: '1'", "cache", True),
]
VALUES += AS_TEXT


@pytest.mark.parametrize(("entry", "field", "value"), VALUES, ids=[entry for entry, _, _ in VALUES])
def test_scalars(entry, field, value):
    got = getattr(read(suite(f"name: p, kind: null_adapter, {entry}")).suite[0], field)
    assert (got, type(got)) == (value, type(value))


LIMITS_ABOVE_1 = {
    "adapter_ablation": "assert_linearity_gte",
    "adapter_revert": "assert_revert_rate_lt",
    "calibration_drift": "assert_fraction_regressed_lt",
    "cluster_kl": "assert_specificity_gte",
    "preference_flip": "assert_flip_rate_gte",
    "section_internalization": "assert_passing_section_frac",
}


@pytest.mark.parametrize(("kind", "field"), LIMITS_ABOVE_1.items())
def test_limits_of_dlm_sway_may_exceed_1(kind, field):
    text = suite(f"name: p, kind: {kind}, {field}: 1.5")
    assert getattr(read(text).suite[0], field) == 1.5
    validator().validate(yaml.safe_load(text))


@pytest.mark.parametrize("version", ["1", "'1'", "1.0"])
def test_version_may_be_text(version):
    assert read(f"version: {version}\n" + HEAD + PROBE).version == 1


def test_sexagesimal_numbers_are_text():
    [probe, _] = read(suite("name: p, kind: delta_kl, prompts: [1:30:00, 12:30.5]")).suite
    assert probe.prompts == ("1:30:00", "12:30.5")


WEIGHT = "weight must be a number from 0 to 1000, got the"
OCTAL = "(8 in YAML 1.1, 10 in YAML 1.2)"
TOP_K = "top_k must be a whole number at least 1, got the number"
QUOTES = "(put it in quotes if it is meant as text)"
# The ^ stands where the message must point, and is taken out.
NEEDED = {
    "delta_kl": "prompts",
    "adapter_ablation": "prompts",
    "adapter_revert": "cases",
    "prompt_collapse": "prompts",
    "cluster_kl": "prompts",
    "paraphrase_invariance": "cases",
    "style_fingerprint": "prompts",
}
"""The entries without which a kind cannot run."""
FIELDS = [
    *(
        (kind, f"{field}: ^[]", f"{field} must have at least 1 element, got 0")
        for kind, field in NEEDED.items()
    ),
    ("delta_kl", "weight: ^-1", f"{WEIGHT} number -1"),
    ("delta_kl", "weight: ^true", f"{WEIGHT} truth value true"),
    ("delta_kl", "weight: ^'one'", f"{WEIGHT} text 'one'"),
    ("delta_kl", "enabled: ^2", "enabled must be true or false, got the number 2"),
    ("delta_kl", "enabled: ^'maybe'", "enabled must be true or false, got the text 'maybe'"),
    ("delta_kl", "prompts: ^hello", "prompts must be a list, got the text 'hello'"),
    ("delta_kl", "prompts: ^~", "prompts must be a list, got nothing"),
    ("delta_kl", "prompts: [a, ^no]", f"prompts[1] must be text, got the truth value no {QUOTES}"),
    (
        "delta_kl",
        "divergence: ^jss",
        "divergence must be js or kl, got the text 'jss'; did you mean 'js'?",
    ),
    ("delta_kl", "divergence: ^[js]", "divergence must be js or kl, got a list of 1"),
    ("delta_kl", "top_k: ^0", f"{TOP_K} 0"),
    ("delta_kl", "^promts: []", "unknown field 'promts'; did you mean 'prompts'?"),
    (
        "delta_kl",
        "^line: 3",
        f"unknown field 'line'; allowed: {', '.join(COMMON + list(DEFAULTS['delta_kl']))}",
    ),
    ("null_adapter", "runs: ^257", "runs must be a whole number from 1 to 256, got the number 257"),
    (
        "null_adapter",
        "init_scale: ^0",
        "init_scale must be a number greater than 0 and at most 1000, got the number 0",
    ),
    (
        "null_adapter",
        "rank_multipliers: [1, ^0]",
        "rank_multipliers[1] must be a number greater than 0 and at most 1000, got the number 0",
    ),
    (
        "null_adapter",
        "rank_multipliers: ^[]",
        "rank_multipliers must have at least 1 element, got 0",
    ),
    (
        "answer_recall",
        "assert_recall_gte: ^1.01",
        "assert_recall_gte must be a number from 0 to 1, got the number 1.01",
    ),
    ("calibration_drift", "items: [^[a]]", "items[0] must be a list of 2 values, got a list of 1"),
    (
        "calibration_drift",
        "items: [^[a, b, [c], d, e]]",
        "items[0] must be a list of 4 values, got a list of 5",
    ),
    ("calibration_drift", "items: [[a, b, ^c]]", "items[0][2] must be a list, got the text 'c'"),
    ("calibration_drift", "items: [^a]", "items[0] must be a list of 2 values, got the text 'a'"),
    (
        "external_perplexity",
        "chunk_chars: ^127",
        "chunk_chars must be a whole number from 128 to 16384, got the number 127",
    ),
    ("adapter_ablation", "lambdas: ^[0, 1]", "lambdas must have at least 3 elements, got 2"),
    (
        "adapter_ablation",
        f"lambdas: ^{[0.01 * i for i in range(65)]}",
        "lambdas must have at most 64 elements, got 65",
    ),
    (
        "adapter_ablation",
        "lambdas: [0, 1, 2, ^101]",
        "lambdas[3] must be a number from 0 to 100, got the number 101",
    ),
    (
        "prompt_collapse",
        f"context_lengths: ^{list(range(65))}",
        "context_lengths must have at most 64 elements, got 65",
    ),
    (
        "leakage",
        "prefix_chars: ^1000001",
        "prefix_chars must be a whole number from 1 to 1000000, got the number 1000001",
    ),
]
# What JSON cannot hold, or a schema cannot say.
BEYOND_SCHEMA = [
    ("delta_kl", "weight: ^1:30:00", f"{WEIGHT} text '1:30:00'"),
    ("delta_kl", "weight: ^1:30.5", f"{WEIGHT} text '1:30.5'"),
    ("delta_kl", "weight: ^010", f"{WEIGHT} number 010 {OCTAL}"),
    ("delta_kl", "weight: ^'0o10'", f"{WEIGHT} text '0o10'"),
    ("delta_kl", "weight: ^0o18", f"{WEIGHT} text '0o18'"),
    ("delta_kl", "weight: ^.inf", f"{WEIGHT} number .inf"),
    ("delta_kl", "weight: ^.nan", f"{WEIGHT} number .nan"),
    ("delta_kl", "weight: ^1e308", f"{WEIGHT} text '1e308'"),
    ("delta_kl", "weight: ^5.0e-324", "weight must be 0, or from 0.001 to 1000"),
    ("delta_kl", "weight: ^0.0009", "weight must be 0, or from 0.001 to 1000"),
    ("null_adapter", "runs: ^1:4", "runs must be a whole number from 1 to 256, got the text '1:4'"),
    (
        "null_adapter",
        "runs: ^010",
        f"runs must be a whole number from 1 to 256, got the number 010 {OCTAL}",
    ),
    ("delta_kl", "weight: ^.inf", f"{WEIGHT} number .inf"),
    ("delta_kl", "weight: ^.nan", f"{WEIGHT} number .nan"),
    ("delta_kl", "weight: ^1e999", f"{WEIGHT} text '1e999'"),
    ("delta_kl", "weight: ^'1e3 g'", f"{WEIGHT} text '1e3 g'"),
    ("delta_kl", "weight: ^'nan'", f"{WEIGHT} text 'nan'"),
    ("delta_kl", "weight: ^2026-01-01", f"{WEIGHT} timestamp 2026-01-01"),
    (
        "delta_kl",
        "assert_z_gte: ^.nan",
        "assert_z_gte must be a finite number, got the number .nan",
    ),
    ("delta_kl", "enabled: ^!!bool x", "enabled must be true or false, got the truth value x"),
    (
        "delta_kl",
        'prompts: [^"a\\0"]',
        "prompts[0] must be text without NUL characters and lone surrogates",
    ),
    ("delta_kl", "top_k: ^3.5", f"{TOP_K} 3.5"),
    (
        "delta_kl",
        f"prompts: ^{['a'] * 10_001}",
        "prompts must have at most 10000 elements, got 10001",
    ),
    (
        "null_adapter",
        "runs: 256, rank_multipliers: ^[2, 3, 4, 5]",
        "rank_multipliers must give at most 1024 nulls: runs times multipliers, 1 included; "
        "got 1280",
    ),
    ("delta_kl", "top_k: ^9223372036854775808", f"{TOP_K} 9223372036854775808"),
    ("delta_kl", 'top_k: ^!!int ""', f"{TOP_K} ''"),
    ("delta_kl", "^name: q", "the key 'name' is repeated; it is first set in line 3"),
    ("delta_kl", "<<: ^3", "<< merges mappings, got the number 3"),
    ("delta_kl", "? ^[a] : 3", "a key must be text, got a list of 1"),
    (
        "adapter_ablation",
        "lambdas: ^[0, 1, 1.0]",
        "lambdas must contain at least 3 distinct numbers",
    ),
    (
        "adapter_ablation",
        "assert_saturation_between: ^[1, 1]",
        "assert_saturation_between must be [low, high] with low < high, got 1 and 1",
    ),
    (
        "calibration_drift",
        "items: ^[[a, b], [c, d, [e]]]",
        "items must have false endings (wrong) in all items or in none",
    ),
    (
        "calibration_drift",
        "items: ^[{prompt: a, gold: b, wrong: [c, b]}]",
        "items must not have 'b' as true and as false ending",
    ),
]
ALLOWED = ", ".join(KINDS)
ENTRIES = [
    *(
        (f"name: p, kind: {kind}, {field}", f"suite[0] ({kind}): {said}")
        for kind, field, said in FIELDS + BEYOND_SCHEMA
    ),
    (
        "name: p, kind: calibration_drift, items: [^{prompt: a}]",
        "suite[0] (calibration_drift).items[0]: gold is missing",
    ),
    ("kind: delta_kl", "suite[0] (delta_kl): name is missing"),
    ("name: ^'', kind: delta_kl", "suite[0] (delta_kl): name must not be empty"),
    (
        'name: ^"a\\nb", kind: delta_kl',
        "suite[0] (delta_kl): name must be printable text on one line",
    ),
    (
        "name: ^7, kind: delta_kl",
        f"suite[0] (delta_kl): name must be text, got the number 7 {QUOTES}",
    ),
    ("name: p, kind: ^leakege", "suite[0]: unknown kind 'leakege'; did you mean 'leakage'?"),
    ("name: p, kind: ^3", f"suite[0]: kind must be one of {ALLOWED}, got the number 3"),
    ("name: p, kind: ^zzz", f"suite[0]: unknown kind 'zzz'; allowed: {ALLOWED}"),
    ("name: p", f"suite[0]: kind is missing; allowed: {ALLOWED}"),
]


@pytest.mark.parametrize(("entry", "line"), ENTRIES, ids=[entry[:60] for entry, _ in ENTRIES])
def test_mistakes_in_an_entry(entry, line):
    column = 5 + entry.index("^") if "^" in entry else 4
    assert mistakes(suite(entry.replace("^", ""))) == [f"sway.yaml:3:{column}: {line}"]


REVISIONS = (
    "models: {base: {base: gpt2, revision: a}, ft: {base: gpt2, adapter: o/l, revision: b}}\n"
)
FILES = [
    ("version: 2\n" + HEAD + PROBE, "1:10: version must be 1, got the number 2"),
    ('version: "2"\n' + HEAD + PROBE, "1:10: version must be 1, got the text '2'"),
    ("version: true\n" + HEAD + PROBE, "1:10: version must be 1, got the truth value true"),
    ("version: 1.5\n" + HEAD + PROBE, "1:10: version must be 1, got the number 1.5"),
    (PROBE, "1:1: models is missing"),
    (HEAD, "1:1: suite is missing"),
    (
        HEAD + PROBE.replace("]", ", {name: p, kind: external_perplexity}]"),
        "2:43: suite[1] (external_perplexity): name must be unique, "
        "but 'p' is also the name of suite[0] (delta_kl) in line 2",
    ),
    (HEAD + "suite: []", "2:8: suite must have at least 1 element, got 0"),
    (HEAD + "suite: [3]", "2:9: suite[0] must be a mapping, got the number 3"),
    (
        HEAD + "suite: [{name: p, kind: delta_kl, enabled: false}]",
        "2:8: suite must contain at least one enabled probe other than null_adapter",
    ),
    (
        HEAD + "suite: [{name: p, kind: null_adapter}]",
        "2:8: suite must contain at least one enabled probe other than null_adapter",
    ),
    (
        HEAD + "suite: [{name: p, kind: delta_kl, weight: 0}, {name: q, kind: leakage, "
        "enabled: false}]",
        "2:8: suite must contain at least one enabled probe with a weight above 0",
    ),
    (
        HEAD
        + PROBE.replace("]", ", {name: n, kind: null_adapter}, {name: m, kind: null_adapter}]"),
        "2:83: suite[2] (null_adapter): kind must be 'null_adapter' only once; "
        "the first is suite[1] (null_adapter) in line 2",
    ),
    (
        HEAD.replace(", adapter: org/lora", "") + PROBE,
        "1:34: models: ft must have an adapter, or another base: a fine-tuned model",
    ),
    (
        HEAD.replace("ft: {base: gpt2", "ft: {base: gpt3") + PROBE,
        "1:41: models.ft: base must be the same as in models.base, 'gpt2', got 'gpt3'",
    ),
    (REVISIONS + PROBE, "1:47: models: ft must have the revision of models.base, 'a', got 'b'"),
    (
        REVISIONS.replace("revision: b", "revision: ../../a")
        .replace("revision: a,", "")
        .replace(", revision: a}", "}")
        + PROBE,
        "1:71: models.ft: revision must be a branch, a tag or a commit, got '../../a'",
    ),
    (
        HEAD.replace("base: gpt2", "kind: mlx, base: gpt2").replace(", adapter: org/lora", "")
        + PROBE,
        "1:45: models: ft must have an adapter: a folder or a hub id",
    ),
    (
        HEAD.replace("base: gpt2", "kind: mlx, base: gpt2").replace(
            "kind: mlx", "trust_remote_code: true, kind: mlx", 1
        )
        + PROBE,
        "1:36: models.base: trust_remote_code must be false for kind: mlx, which runs no code of",
    ),
    (
        HEAD.replace("base: gpt2", "kind: mlx, base: gpt2").replace(
            "kind: mlx", "quantization: nf4, kind: mlx", 1
        )
        + PROBE,
        "1:31: models.base: quantization must be absent for kind: mlx, which runs bases as in",
    ),
    (
        HEAD.replace("base: gpt2", "kind: mlx, base: gpt2")
        + PROBE
        + "defaults: {differential: false}",
        "3:11: defaults differential must be true for kind: mlx",
    ),
    (
        HEAD + PROBE + "sections: [{kind: prose, content: ' '}]",
        "3:35: sections[0] (prose): content must not be empty",
    ),
    (
        HEAD + PROBE + "sections: [{kind: instruction, pairs: []}]",
        "3:39: sections[0] (instruction): pairs must have at least 1 element, got 0",
    ),
    (
        HEAD + PROBE + "sections: [{kind: instruction, pairs: [{prompt: a}]}]",
        "3:40: sections[0] (instruction).pairs[0]: gold is missing",
    ),
    (
        HEAD
        + PROBE
        + "sections: [{kind: prose, content: a, id: x}, {kind: prose, content: b, id: x}]",
        "3:76: sections[1] (prose): id must be unique, "
        "but 'x' is also the id of sections[0] (prose)",
    ),
    (
        HEAD + PROBE + "defaults: {score_weights: {adherance: 1}}",
        "3:28: defaults.score_weights: unknown field 'adherance'; did you mean 'adherence'?",
    ),
    (
        HEAD
        + PROBE
        + "defaults: {score_weights: {adherence: 0, attribution: 0, calibration: 0, ablation: 0}}",
        "3:27: defaults: score_weights must give at least one category a positive weight",
    ),
    (
        HEAD + PROBE + "defaults: {concurrent_probes: 33}",
        "3:31: defaults: concurrent_probes must be a whole number from 1 to 32, got the number 33",
    ),
    (
        HEAD + PROBE + "defaults: {timeout: 1d}",
        "3:21: defaults: timeout must be a duration such as 90, 90s, 10m or 1h, got '1d'",
    ),
    (
        HEAD + PROBE + "defaults: {timeout: 0}",
        "3:21: defaults: timeout must be a whole number at least 1, got the number 0",
    ),
    (
        HEAD + f"suite: {[{'name': f'p{i}', 'kind': 'delta_kl'} for i in range(501)]}",
        "2:8: suite must have at most 500 elements, got 501",
    ),
    (HEAD + PROBE + "control: ''", "3:10: control must not be empty"),
    (
        HEAD + PROBE + "dlm_source: \\\\host\\share",
        "3:13: dlm_source is a network path; copy it to this machine",
    ),
    (HEAD + PROBE + "suites: []", "3:1: unknown field 'suites'; did you mean 'suite'?"),
    ("", "1:1: the file is empty; create one with `sway init`"),
    ("- 1", "1:1: not a spec: needs the fields models and suite; create one with `sway init`"),
    ("text", "1:1: not a spec: needs the fields models and suite; create one with `sway init`"),
    ("a: 1", "1:1: not a spec: needs the fields models and suite; create one with `sway init`"),
    ("a: 1\n---\nb: 2", "2:1: a second document starts here; use one file per document"),
    ("a: \0", "1:4: the character '\\x00' is not allowed in YAML"),
    ("a:\nb \ud800", "2:3: the character '\\ud800' is not allowed in YAML"),
    (
        "a: !!python/object/apply:os.getcwd []",
        "1:4: a tag is not supported; write the plain value",
    ),
    ("a: !mine b", "1:4: a tag is not supported; write the plain value"),
    (
        "a: !!binary aGk=",
        "1:4: a tag is not supported; write the plain value",
    ),
    (
        "a: !!map b",
        "1:4: a tag is not supported; write the plain value",
    ),
    ("[" * 100_000, "1:65: nested deeper than 64 levels"),
    ("- " * 100_000, "1:129: nested deeper than 64 levels"),
    ("a: &a [*a]", "1:4: this value contains itself through an alias"),
    ("a: &a {<<: *a}", "1:4: this value contains itself through an alias"),
    (
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
        "16:6: more than 100000 values after its aliases are expanded",
    ),
    (
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 100)),
        "65:6: nested deeper than 64 levels after its aliases are expanded",
    ),
    ("a: b: c", "1:5: not valid YAML: mapping values are not allowed"),
    ("a: *b", "1:4: not valid YAML: found undefined alias"),
]


@pytest.mark.parametrize(("text", "line"), FILES, ids=[line[:60] for _, line in FILES])
def test_mistakes_in_a_file(text, line):
    (problem,) = mistakes(text)
    assert problem.startswith(f"sway.yaml:{line}")


def test_too_many_values(monkeypatch):
    monkeypatch.setattr(yaml_nodes, "MAX_NODES", 1000)
    assert mistakes("[" + "a," * 1001 + "]") == [
        "sway.yaml:1:2000: more than 1000 values; split the file"
    ]


def test_all_mistakes_come_at_once_in_order():
    text = (
        "version: 2\n"
        + suite("name: p, kind: delta_kl, weight: -1, promts: [], prompts: [1, 2]")
        + "x: 1\n"
    )
    assert [problem.split(": ")[0] for problem in mistakes(text)] == [
        "sway.yaml:1:10",
        *(f"sway.yaml:4:{column}" for column in (38, 42, 64, 67)),
        "sway.yaml:6:1",
    ]


def test_a_flood_of_mistakes_is_cut():
    problems = mistakes(HEAD + PROBE.replace("delta_kl", f"delta_kl, prompts: [{'1, ' * 80}]"))
    assert len(problems) == yaml_nodes.MAX_PROBLEMS + 1
    assert problems[-1].endswith("and 30 more mistakes")


def test_a_long_number_is_cheap_and_short_in_the_message():
    (problem,) = mistakes(f"version: {'9' * 100_000}\n{HEAD}{PROBE}")
    assert problem.startswith("sway.yaml:1:10: version must be 1, got the number 999")
    assert len(problem) < 200


def test_aliases_and_merge_keys_as_in_safe_load():
    text = HEAD + (
        "suite:\n - &a {name: a, kind: delta_kl, prompts: &p [x, y], weight: 2}\n"
        " - &b {<<: *a, name: b, weight: 3}\n"
        " - {name: c, <<: [{kind: delta_kl, weight: 4}, *b]}\n"
        " - {name: d, kind: delta_kl, prompts: *p}\n"
    )
    keys = ("name", "kind", "prompts", "weight")
    theirs = [
        {"weight": 1.0, **entry, "prompts": tuple(entry["prompts"])}
        for entry in yaml.safe_load(text)["suite"]
    ]
    assert [{key: getattr(probe, key) for key in keys} for probe in read(text).suite] == theirs


class Style(msgspec.Struct, kw_only=True):
    """A kind with on and off among its values."""

    name: str
    kind: Literal["style"] = "style"
    extended: Literal["auto", "on", "off"] = "auto"
    cap: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5


class AnyStyle(msgspec.Struct):
    """Its base class."""


def read_style(text: str) -> Style:
    reader = yaml_reader.Reader("s", {AnyStyle: {"style": Style}})
    value: Any = reader.read(yaml_nodes.compose(text, "s"), AnyStyle)
    reader.finish()
    return value


@pytest.mark.parametrize("word", ["on", "off", "Off", "auto", "'on'"])
def test_on_and_off_are_words_where_they_are_allowed(word):
    assert (
        read_style(f"{{name: a, kind: style, extended: {word}}}").extended
        == word.strip("'").lower()
    )


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("extended: yes", "extended must be auto, off or on, got the truth value yes"),
        ("cap: 1", "cap must be a number at least 0 and less than 1, got the number 1"),
    ],
)
def test_other_kinds_bring_their_limits(field, said):
    with pytest.raises(SpecError, match=said):
        read_style(f"{{name: a, kind: style, {field}}}")


# ---------------------------------------------------------------------- defaults, sections, control


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("{}", (0.3, 0.35, 0.2, 0.15)),
        ("{score_weights: }", (0.3, 0.35, 0.2, 0.15)),
        ("{score_weights: {adherence: 1, baseline: .5}}", (1.0, 0.35, 0.2, 0.15)),
    ],
)
def test_score_weights_are_completed(given, want):
    assert tuple(read(f"{HEAD}{PROBE}defaults: {given}").defaults.weights().values()) == want


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("'90'", 90), ("null", None)],
)
def test_a_time_limit_is_in_seconds_or_has_a_unit(given, seconds):
    assert read(f"{HEAD}{PROBE}defaults: {{timeout: {given}}}").defaults.time_limit() == seconds


IGNORED_FIELDS = {
    "none": ("", PROBE, ()),
    "defaults": ("defaults: {seed: 1, top_k: 256}\n", PROBE, ("defaults: top_k",)),
    "a weight": (
        "defaults: {score_weights: {adherence: 1, baseline: .5}}\n",
        PROBE,
        ("defaults: score_weights.baseline",),
    ),
    "a probe": (
        "",
        "suite: [{name: p, kind: delta_kl, top_k: 5, prompts: [a]}]\n",
        ("suite[0] (delta_kl): top_k",),
    ),
    "several": (
        "defaults: {concurrent_probes: 2}\n",
        "suite: [{name: p, kind: prompt_collapse, legacy_stuffing: true, prompts: [a]}]\n",
        ("defaults: concurrent_probes, suite[0] (prompt_collapse): legacy_stuffing",),
    ),
}


@pytest.mark.parametrize(
    ("defaults", "suite", "named"), IGNORED_FIELDS.values(), ids=IGNORED_FIELDS
)
def test_a_note_names_fields_without_effect(defaults, suite, named):
    notes = read(HEAD + suite + defaults).notes
    assert notes == tuple(f"fields without effect are ignored: {names}" for names in named)


def test_the_page_lists_each_ignored_field():
    page = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    rows = page.partition("## Fields without effect")[2].splitlines()
    for field, reason in IGNORED.items():
        assert any(f"`{field}`" in row and reason in row for row in rows), field


def test_each_ignored_field_is_in_the_format():
    structs = [Defaults, ModelRef, *KINDS.values()]
    fields = {name for struct in structs for name in struct.__struct_fields__}
    assert {name.partition(".")[0] for name in IGNORED} <= fields


CASES = "[{prompt: a, gold: b, paraphrases: [c, d, c]}, {prompt: a, gold: b, paraphrases: [c, d]}]"
TRIPLE = "{prompt: a, chosen: b, rejected: c}"
REPEATED = {
    "delta_kl": ("prompts", "[a, b, a, a]", 2, 2),
    "adapter_ablation": ("held_out", "[a, a]", 1, 1),
    "adapter_revert": ("cases", CASES, 1, 3),
    "paraphrase_invariance": ("cases", CASES, 1, 3),
    "preference_flip": ("triples", f"[{TRIPLE}, {TRIPLE}]", 1, 1),
    "calibration_drift": ("items", "[[a, b], [a, b], [a, c]]", 2, 1),
    "degeneration": ("prompts", "[a, b]", 2, 0),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_repeated_entry_counts_once(kind):
    field, written, kept, left_out = REPEATED[kind]
    spec = read(f"{HEAD}suite: [{{name: p, kind: {kind}, {field}: {written}}}]")
    assert len(getattr(spec.suite[0], field)) == kept
    plural = "s" if left_out > 1 else ""
    note = f"suite[0] ({kind}): {field}: {left_out} repetition{plural} left out, because each "
    assert spec.notes == ((f"{note}entry counts once",) if left_out else ())


def test_numbers_can_be_repeated():
    spec = read(f"{HEAD}suite: [{{name: p, kind: adapter_ablation, lambdas: [0, 0, 1, 2]}}]")
    assert spec.suite[0].lambdas == (0, 0, 1, 2)
    assert spec.notes == ()


@pytest.mark.parametrize(("given", "want"), [("one", ("one",)), ("[one, two]", ("one", "two"))])
def test_control(given, want):
    assert read(f"{HEAD}{PROBE}control: {given}").control == want


SECTIONS = """\
sections:
 - {kind: prose, content: "A text.", tag: intro}
 - {kind: instruction, pairs: [{prompt: a, gold: b}], id: mine, intent: memorize}
 - {kind: preference, pairs: [{prompt: a, chosen: b, rejected: c}]}
"""


def test_sections():
    prose, instruction, preference = read(HEAD + PROBE + SECTIONS).sections
    assert (prose.kind, prose.content, prose.tag, prose.intent) == (
        "prose",
        "A text.",
        "intro",
        "generalize",
    )
    assert (instruction.id, instruction.intent) == ("mine", "memorize")
    assert instruction.pairs == (Pair(prompt="a", gold="b"),)
    assert preference.pairs == (Preference(prompt="a", chosen="b", rejected="c"),)
    assert len({prose.id, preference.id, section_id("prose", "A text!")}) == 3


def test_a_section_id_is_a_hash_of_kind_and_content():
    # printf '["prose","A text.",[]]' | sha256sum
    assert read(HEAD + PROBE + SECTIONS).sections[0].id == "f1e042c953386f81"


# -------------------------------------------------------------------------------------------- paths


def with_adapter(adapter):
    return HEAD.replace("org/lora", json.dumps(str(adapter))) + PROBE


@pytest.mark.parametrize(
    "written", ["runs/a", "./runs/a", "runs/../runs/a/", "{folder}/runs/a", "~/runs/a"]
)
def test_paths_start_from_the_specs_folder(written, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    (folder / "runs/a").mkdir(parents=True)
    (folder / "cwd/runs/a").mkdir(parents=True)
    loaded = read(with_adapter(written.format(folder=folder)), folder)
    assert (loaded.models.ft.adapter, loaded.notes) == (str(folder / "runs/a"), ())


def test_the_current_folder_is_second_and_noted_once(folder):
    (folder / "cwd/runs/a").mkdir(parents=True)
    loaded = read(with_adapter("runs/a").replace("gpt2", "runs/a"), folder)
    assert loaded.models.base.base == loaded.models.ft.adapter == str(folder / "cwd/runs/a")
    assert loaded.notes == (
        "'runs/a' was found in the current folder, not in the folder of the spec: "
        f"{folder / 'cwd' / 'runs' / 'a'}",
    )


@pytest.mark.parametrize("written", ["gpt2", "org/name", "runs/a"])
def test_a_path_that_does_not_exist_may_be_a_hub_id(written, folder):
    (folder / "gpt2").write_text("a file hides no hub id", encoding="utf-8")
    assert read(with_adapter(written), folder).models.ft.adapter == written


@pytest.mark.parametrize(
    "written", ["./a", "../a", "a/b/c", "~/a", "C:\\a", "a/", "/nowhere/a", "a--b/c", "x" * 5000]
)
def test_a_missing_path_is_a_mistake(written, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    problems = mistakes(with_adapter(written), folder / "gone")
    assert len(problems) == 1
    assert problems[0].startswith("sway.yaml:1:56: models.ft: adapter ")
    assert "does not exist" in problems[0]


@pytest.mark.parametrize("side", ["{base: gpt2}", "{base: gpt2,"])
def test_a_revision_on_either_side_is_the_bases(side):
    models = read(HEAD.replace(side, side.replace("gpt2", "gpt2, revision: v1")) + PROBE).models
    assert (models.base.revision, models.ft.revision) == ("v1", "v1")


def test_a_missing_path_is_reported_with_the_searched_folders(folder):
    (problem,) = mistakes(with_adapter("./a"), folder)
    assert problem.endswith(
        f"adapter './a' does not exist (looked in {folder} and {folder / 'cwd'})"
    )


def test_a_share_is_refused_unopened():
    (problem,) = mistakes(with_adapter("\\\\host\\share"))
    assert "is a network path" in problem


def test_the_fields_of_the_data_are_named():
    text = HEAD + PROBE + "data_map: {prompt: question, answer: reply}"
    assert read(text).data_map.fields() == {"prompt": "question", "answer": "reply"}
    assert read(HEAD + PROBE).data_map is None
    assert mistakes(HEAD + PROBE + "data_map: {prompt: question}") == [
        "sway.yaml:3:20: data_map: prompt must be given with the parts of one format: "
        "prompt and answer; messages; chosen and rejected; text",
    ]


@pytest.mark.parametrize("there", [True, False])
def test_dlm_source_need_not_exist(there, folder):
    if there:
        (folder / "d.dlm").touch()
    assert read(HEAD + PROBE + "dlm_source: d.dlm", folder).dlm_source == str(folder / "d.dlm")


def test_an_adapter_of_the_base_is_noted():
    loaded = read(HEAD.replace("{base: gpt2}", "{base: gpt2, adapter: a/b}") + PROBE)
    assert loaded.notes == (
        "models.base.adapter is ignored: the base is measured without an adapter",
    )


@pytest.mark.parametrize(
    ("base", "ft", "notes"),
    [
        (
            "dtype: bf16",
            "dtype: fp32",
            ("models.base.dtype bf16 is ignored: models.ft.dtype fp32 is used",),
        ),
        ("dtype: bf16", "dtype: auto", ()),
        ("quantization: nf4", "dtype: auto", ()),
        ("dtype: bf16", "dtype: bf16", ()),
    ],
)
def test_settings_of_the_base_that_contradict_are_noted(base, ft, notes):
    head = HEAD.replace("{base: gpt2}", f"{{base: gpt2, {base}}}")
    head = head.replace("adapter:", f"{ft}, adapter:", 1)
    assert read(head + PROBE).notes == notes


# --------------------------------------------------------------------------------------------- load


def test_paths_are_relative_to_the_file(folder):
    (folder / "s").mkdir()
    (folder / "s/a").mkdir()
    (folder / "s/sway.yaml").write_text("\ufeff" + with_adapter("./a"), encoding="utf-8")
    loaded = load_spec(os.path.join("..", "s", "sway.yaml"))
    assert loaded.label == os.path.join("..", "s", "sway.yaml")
    assert (loaded.folder, loaded.models.ft.adapter) == (str(folder / "s"), str(folder / "s/a"))


def test_load_from_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((HEAD + PROBE).encode())))
    loaded = load_spec("-")
    assert (loaded.label, loaded.folder) == ("<stdin>", os.getcwd())


UNREADABLE = [
    ("gone.yaml", None, "gone.yaml: no such file; create one with `sway init`"),
    (".", None, ".: is a folder; give the file in it"),
    ("bib.yaml", None, "bib.yaml: no such file; did you mean big.yaml?"),
    ("org/model", None, "org/model: no such file; give a spec, not the name of a model"),
    (
        "train.jsonl",
        b"{}",
        "train.jsonl: is a data file; write its spec: sway init ADAPTER --data train.jsonl",
    ),
    (
        "r.json",
        b'{"schema_version": 1}',
        "r.json: is a JSON report; show it: sway report r.json",
    ),
    ("bad\0.yaml", None, "'bad\\x00.yaml': cannot be read: its name contains a NUL character"),
    ("latin.yaml", b"a: 1\nb: \xe9", "latin.yaml:2:1: not UTF-8 text; save the file as UTF-8"),
    (
        "big.yaml",
        b"#" * (MAX_BYTES + 1),
        "big.yaml: larger than 4 MiB; move long texts to files under data",
    ),
    ("wide.yaml", "a: b".encode("utf-16"), "wide.yaml:1:1: not UTF-8 text; save the file as UTF-8"),
]


@pytest.mark.parametrize(
    ("path", "data", "line"), UNREADABLE, ids=[line[:30] for _, _, line in UNREADABLE]
)
def test_unreadable_files(path, data, line):
    Path("big.yaml").touch()
    if data is not None:
        Path(path).write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert caught.value.problems == [line]


FOLDERS = {
    "adapter_config.json": "lora: is an adapter, not a spec; judge it without a spec: "
    "sway check lora, or write its spec with `sway init`",
    "config.json": "lora: is a model, not a spec; write a spec with `sway init`",
}


@pytest.mark.parametrize(("file", "line"), FOLDERS.items())
def test_a_model_is_not_a_spec(file, line):
    Path("lora").mkdir()
    Path("lora", file).touch()
    with pytest.raises(SpecError) as caught:
        load_spec("lora")
    assert caught.value.problems == [line]


@pytest.mark.parametrize("other", ["my.sway.yaml", "prod.sway.yaml"])
def test_without_the_default_spec_another_is_named(other):
    if other != "my.sway.yaml":
        Path(other).touch()
    with pytest.raises(SpecError) as caught:
        load_spec("sway.yaml")
    assert caught.value.problems == [
        f"sway.yaml: no such file; create one with `sway init`, or name yours, such as {other}"
    ]


PIECES = [
    "*a",
    "&a ",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    ": ",
    "\n",
    "!!int ",
    "'",
    '"',
    "\t",
    "~",
    "- ",
    "? ",
    "|",
    "1:3",
    "%",
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(0, len(README)), st.integers(0, 3), st.sampled_from(PIECES)),
        max_size=8,
    )
)
def test_a_corrupt_spec_raises_only_spec_errors(edits):
    text = README + SECTIONS
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    assert all(
        problem.startswith("sway.yaml:") and "\n" not in problem for problem in mistakes(text)
    )


def test_import_is_light():
    heavy = {"numpy", "torch", "rich", "huggingface_hub"}
    assert heavy.isdisjoint(modules_after("import sway_gate.spec.schema"))


# ------------------------------------------------------------------------------------------- schema


@cache
def validator():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


GOOD = [
    suite(
        "name: p, kind: adapter_ablation, lambdas: [0, 1, 2], assert_saturation_between: [0.1, 2]"
    ),
    suite("name: p, kind: calibration_drift, items: [[a, b], {prompt: a, gold: b}]"),
    suite("name: p, kind: calibration_drift, items: [[a, b, [c], d], [e, f, [g]]]"),
    suite("name: p, kind: null_adapter, runs: null, calibrate_kinds: [leakage]"),
    HEAD + PROBE + SECTIONS,
    HEAD
    + PROBE
    + "control: [a, b]\ndlm_source: x\nversion: 1\ndefaults: {score_weights: {ablation: 0}}",
]


@pytest.mark.parametrize("text", GOOD)
def test_schema_takes_what_load_takes(text):
    read(text)
    validator().validate(yaml.safe_load(text))


def test_schema_refuses_what_load_refuses():
    entries = [f"name: p, kind: {kind}, {field.replace('^', '')}" for kind, field, *_ in FIELDS]
    schema = validator()
    assert [entry for entry in entries if schema.is_valid(yaml.safe_load(suite(entry)))] == []


def parts(schema):
    """The schema and all schemas inside it."""
    inner = schema.values() if isinstance(schema, dict) else schema
    found = [part for value in inner if isinstance(value, dict | list) for part in parts(value)]
    return [schema, *found] if isinstance(schema, dict) else found


def test_schema_is_closed():
    objects = [part for part in parts(json_schema()) if part.get("type") == "object"]
    names = {part.get("title") for part in objects}
    probes = {cls.__name__ for cls in KINDS.values()}
    assert {"sway.yaml", "Pair", "Preference", "Case", "ScoreWeights", *probes} <= names
    assert [part for part in objects if part["additionalProperties"] is not False] == []


def test_schema_has_no_field_that_a_file_cannot_set():
    schema = json_schema()
    names = {name for part in parts(schema) for name in part.get("properties", ())}
    others = [part for name, part in schema["$defs"].items() if name != "DataMap"]
    assert not HIDDEN & {name for part in others for name in part.get("properties", ())}
    assert not {"folder", "notes", "held_out_sections"} & names
    assert "label" not in schema["properties"]
    assert {"prompt", "gold", "chosen", "rejected", "held_out", "prompt_format", "learn"} <= names
    assert json.loads(json.dumps(schema)) == schema


def test_schema_defines_what_it_uses():
    schema = json_schema()
    used = {part["$ref"].removeprefix("#/$defs/") for part in parts(schema) if "$ref" in part}
    assert set(schema["$defs"]) == used
    assert not {"Message", "Conversation", "SpecFile", "Spec", "Section"} & used


@pytest.mark.parametrize("field", sorted(HIDDEN - {"line"}))
def test_neither_schema_nor_load_takes_a_hidden_field_of_a_row(field):
    row = f"{{prompt: a, gold: b, {field}: plain}}"
    text = HEAD + PROBE + f"sections: [{{kind: instruction, pairs: [{row}]}}]\n"
    assert not validator().is_valid(yaml.safe_load(text))
    with pytest.raises(SpecError, match=field):
        read(text)


def test_names_of_wrong_entries_are_compared_too(tmp_path: Path) -> None:
    suite = "[{name: a, kind: delta_kl, promts: [x]}, {name: a, kind: leakage}]"
    text = f"models: {{base: {{base: o/m}}, ft: {{base: o/m, adapter: o/a}}}}\nsuite: {suite}\n"
    with pytest.raises(
        SpecError,
        match=r"suite\[1\] \(leakage\): name must be unique, but 'a' is also "
        r"the name of suite\[0\] \(delta_kl\) in line 2",
    ):
        parse_spec(text, "sway.yaml", str(tmp_path))


@pytest.mark.parametrize("given", ["other", "org/other"])
def test_another_adapter_replaces_the_one_of_the_spec(folder, given):
    (folder / "cwd" / "other").mkdir()
    head = HEAD.replace("org/lora", "./absent, adapter_revision: x")
    ft = parse_spec(head + PROBE, "sway.yaml", str(folder), given).models.ft
    expected = str(folder / "cwd" / "other") if given == "other" else given
    assert (ft.adapter, ft.adapter_revision) == (expected, None)


NO_ADAPTER = {
    "a full model": "models: {base: {base: gpt2}, ft: {base: org/tuned}}\n",
    "no files": "models: {base: {kind: dummy, base: x}, ft: {kind: dummy, base: x, adapter: y}}\n",
}


@pytest.mark.parametrize("head", NO_ADAPTER.values(), ids=NO_ADAPTER)
def test_a_spec_without_an_adapter_cannot_take_another(folder, head):
    with pytest.raises(SpecError, match="ft must have an adapter of kind hf or mlx, to replace it"):
        parse_spec(head + PROBE, "s.yaml", str(folder), "org/other")
