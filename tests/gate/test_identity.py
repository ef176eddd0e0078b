"""The key of a cached verdict: each field of a job is in it or listed as irrelevant."""

from datetime import date

import msgspec
import pytest
from msgspec import structs

from sway_gate.compare.inputs import probe_inputs
from sway_gate.gate import identity
from sway_gate.gate.identity import (
    VerdictIdentity,
    content_key,
    suite_by_digest,
    verdict_key,
)
from sway_gate.gate.resolve import Job, Loading
from sway_gate.installed import PACKAGE, code_digest
from sway_gate.results import ModelFacts
from sway_gate.spec.probes import AdapterRevert, DeltaKL
from sway_gate.spec.schema import Defaults, ModelRef, Models, Reserve, Section, Spec, Waiver

IN_KEY = {
    Job: {
        "base",
        "adapter",
        "threshold",
        "weights",
        "versions",
        "platform",
        "spec",
        "embedders",
        "today",
    },
    Spec: {
        *("models", "defaults", "suite", "sections", "control", "held_out_sections", "waivers"),
        *("reserve", "held_out_reserve"),
    },
    Defaults: {"seed", "differential", "chat_template", "prompt_format", "learn"},
    ModelRef: {"base", "dtype", "device", "trust_remote_code", "quantization"},
}
NOT_IN_KEY = {
    # Paths, the observer, whether a verdict is cached, the times of the files, and time limits. The
    # tier chooses the suite, which is in the key.
    Job: {"folders", "cache", "states", "online", "observe", "max_seconds", "tier", "deadline"},
    # Names that each run adds, and files whose content is in the sections.
    Spec: {"version", "label", "folder", "notes", "data", "data_map", "dlm_source", "held_out"},
    # The job's threshold and weights are in the key; the others have no effect.
    # Verdicts that a budget cut short are not cached.
    Defaults: {
        *("coverage_threshold", "score_weights", "top_k", "concurrent_probes", "timeout", "budget"),
    },
    # The digests of the files replace these. Only files are cached; the versions of kind mlx
    # contain mlx.
    # Of models on a server, the digests stand for address, name, revision and tokenizer.
    ModelRef: {
        *("kind", "adapter", "revision", "adapter_revision", "entry_point", "endpoint"),
        *("tokenizer", "api_key_env"),
    },
}


@pytest.mark.parametrize("cls", IN_KEY, ids=lambda cls: cls.__name__)
def test_each_field_is_in_the_key_or_listed(cls):
    fields = set(cls._fields if cls is Job else cls.__struct_fields__)
    assert fields == IN_KEY[cls] | NOT_IN_KEY[cls]


def job(adapter="org/a", probe=None, base="org/b", embedders=None, **fields):
    models = Models(base=ModelRef(base=base), ft=ModelRef(base=base, adapter=adapter))
    spec = Spec(models=models, suite=(probe or DeltaKL(name="d", prompts=("p",)),), **fields)
    facts = ModelFacts(path=base, digest="b"), ModelFacts(path=adapter, digest="a")
    versions = {"sway-gate": "0.1.0"}
    weights = {"adherence": 1.0}
    return Job(spec, None, *facts, 0.6, weights, versions, "linux", True, embedders or {})


def test_other_code_of_this_package_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = Loading("float32", "cpu", False, None)
    key, content = verdict_key(job()), content_key(job(), loading)
    # Changed statistics read the measurements again; only other backends measure again.
    assert identity._measured_on(job())["code"] == code_digest(PACKAGE / "backends")
    monkeypatch.setattr(identity, "code_digest", lambda *_: "another")
    assert verdict_key(job()) != key
    # Machines of a fleet can have a checkout and a package of one version.
    assert content_key(job(), loading) == content


SECTION = Section(kind="prose", id="s", content="c")
PLACES = {
    "label": ({"label": "x.yaml"}, True),
    "notes": ({"notes": ("found in /elsewhere",)}, True),
    "name of the adapter": ({"adapter": "org/other"}, True),
    "id of the base": ({"base": "org/other"}, False),
    "seed": ({"defaults": Defaults(seed=1)}, False),
    "sections": ({"sections": (SECTION,)}, False),
    "reserve": ({"reserve": Reserve(samples=((SECTION,),))}, False),
    "held-out reserve": ({"held_out_reserve": Reserve(samples=((SECTION,),))}, False),
    "line of a probe": ({"probe": DeltaKL(name="d", prompts=("p",), line=3)}, False),
}


@pytest.mark.parametrize(("fields", "is_same"), PLACES.values(), ids=PLACES)
def test_names_of_files_are_not_in_the_key(fields, is_same):
    assert (verdict_key(job(**fields)) == verdict_key(job())) is is_same


WAIVER = Waiver(probe="d", reason="known", expires=date(2027, 1, 31), by="Ada")
WAIVED = {
    "the same waiver": (WAIVER, date(2026, 12, 1), True),
    "its last day": (WAIVER, date(2027, 1, 31), True),
    "the day after": (WAIVER, date(2027, 2, 1), False),
    "another reason": (structs.replace(WAIVER, reason="new"), date(2026, 12, 1), False),
    "another author": (structs.replace(WAIVER, by="Bob"), date(2026, 12, 1), False),
    "another date": (structs.replace(WAIVER, expires=date(2027, 3, 1)), date(2026, 12, 1), False),
}


@pytest.mark.parametrize(("waiver", "today", "is_same"), WAIVED.values(), ids=WAIVED)
def test_waivers_are_in_the_key_and_leave_it_when_they_expire(waiver, today, is_same):
    def key(waiver, today):
        return verdict_key(job(waivers=(waiver,))._replace(today=today))

    assert (key(waiver, today) == key(WAIVER, date(2026, 11, 28))) is is_same


def test_an_embedding_model_counts_by_its_content():
    def keys(folder, digest):
        probe = AdapterRevert(name="r", embedding_model=folder)
        found = job(probe=probe, embedders={folder: digest})
        return verdict_key(found), probe_inputs(suite_by_digest(found))["r"]

    here, there, other = keys("/a/minilm", "d"), keys("/b/minilm", "d"), keys("/a/minilm", "e")
    assert here == there
    assert all(a != b for a, b in zip(here, other, strict=True))


def test_the_identity_has_no_optional_field():
    assert all(field.required for field in msgspec.structs.fields(VerdictIdentity))
