"""Generated suites: prompts and paraphrases from the data, exact YAML, and kinds left out."""

import json
import re
import sys

import pytest
import yaml

from sway_gate import demo
from sway_gate.errors import CannotDecide, SpecError, UsageError
from sway_gate.gate.context import probe_context
from sway_gate.gate.resolve import Folders
from sway_gate.probes import module
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import Pair, Preference
from sway_gate.suites import generate
from sway_gate.suites.choose import suite
from sway_gate.suites.paraphrases import paraphrases
from sway_gate.suites.prompts import openings, prompts
from sway_gate.suites.supports import Entry, LeftOut, Material
from sway_gate.suites.yaml_writer import block, comment
from sway_gate.text import clean
from sway_gate.training_data import dlm
from sway_gate.training_data.examples import section
from tests.helpers import ROOT
from tests.helpers.property import given, settings, st

TWENTY = " ".join(f"word{i}" for i in range(20))


def prose(text):
    return section(text, "tag")


def asked(prompt, gold="Old Tamsin Vole keeps the road.", intent="generalize"):
    return section((Pair(prompt=prompt, gold=gold),), "tag", intent)


def preferred(prompt="Say hi."):
    return section((Preference(prompt=prompt, chosen="Hello there.", rejected="Yo."),), "tag")


# ------------------------------------------------------------------------------------------ prompts

OPENINGS = {
    "a paragraph": (
        "The tide covers the sand road twice a day, in all weathers.",
        "The tide covers the sand road",
    ),
    "on one line": (
        "The tide\ncovers   the\tsand road twice a day, and then nobody may pass.",
        "The tide covers the sand road",
    ),
    "long words": (f"{'a' * 40} {'b' * 40} {TWENTY}", "a" * 40),
    "one endless word": ("x" * 500, "x" * 60),
    "without spaces": ("潮" * 200, "潮" * 60),
    "less than an opening": ("Two words", "Two words"),
    "a table before text": (
        f"| a | b |\n|---|---|\n\n{TWENTY}",
        "word0 word1 word2 word3 word4 word5",
    ),
    "a short line before text": (f"Note\n\n{TWENTY}", "word0 word1 word2 word3 word4 word5"),
    "nothing but a table": ("| a | b |", "| a | b |"),
    "a quotation": (f"“{TWENTY}”", "“word0 word1 word2 word3 word4 word5"),
}


@pytest.mark.parametrize(("text", "opening"), OPENINGS.values(), ids=OPENINGS)
def test_the_opening_of_prose(text, opening):
    assert prompts([prose(text)], 1) == [opening]


def test_few_sections_give_more_of_each():
    first, second = (" ".join(f"{name}{i}" for i in range(12)) for name in ("a", "b"))
    found = prompts([prose(f"{first}. {second}."), prose(TWENTY)], 9)
    assert found == [
        "a0 a1 a2 a3 a4 a5",
        "word0 word1 word2 word3 word4 word5",
        "b0 b1 b2 b3 b4 b5",
    ]


def test_the_prompts_are_spread_over_the_sections():
    found = prompts([asked(f"Q{i:02}?") for i in range(48)], 4)
    assert [int(text[1:3]) // 12 for text in found] == [0, 1, 2, 3]


LIMITS = {
    "short before long": ([asked("x" * 500), asked("a?"), asked("b?")], 2, ["a?", "b?"]),
    "long where there is no other": ([asked("x" * 500), asked("a?")], 2, ["a?", "x" * 500]),
    "none too long to read": ([asked("x" * 5000)], 2, []),
    "each once": ([asked("a?"), asked("a?", "other gold")], 2, ["a?"]),
    "none of nothing": ([], 2, []),
}


@pytest.mark.parametrize(("sections", "limit", "expected"), LIMITS.values(), ids=LIMITS)
def test_which_prompts(sections, limit, expected):
    assert prompts(sections, limit) == expected


def test_openings_are_of_prose():
    assert openings([asked("a?"), prose(TWENTY)], 3) == ["word0 word1 word2 word3 word4 word5"]


# -------------------------------------------------------------------------------------- paraphrases

FRAMES = {
    "a question": (
        "Does the tide cover it?",
        "Tell me, does the tide cover it?",
        "Please answer this: Does the tide cover it?",
        "I would like to know: Does the tide cover it?",
    ),
    "a task": (
        "Write a poem about salt",
        "Please write a poem about salt.",
        "I would like you to write a poem about salt.",
        "Your task: write a poem about salt.",
    ),
    "an opening": (
        "The island lives by",
        "As we know, the island lives by",
        "In other words: The island lives by",
    ),
}


@pytest.mark.parametrize(
    ("prompt", "others"), [(p, others) for p, *others in FRAMES.values()], ids=FRAMES
)
def test_frames_around_what_is_asked(prompt, others):
    assert paraphrases(prompt) == others


WAYS = {
    "a contraction": ("What is the tide?", "What's the tide?"),
    "its expansion": ("Who's the keeper?", "Who is the keeper?"),
    "how to": ("How do I mend the horn?", "Explain how to mend the horn."),
    "explain how": ("Explain how to mend a horn.", "How do you mend a horn?"),
    "explain what": ("Explain what the tide is.", "What is the tide?"),
    "which": ("Which birds live in the loft?", "What birds live in the loft?"),
    "which of": ("Which of the birds sing?", "Tell me, which of the birds sing?"),
    "a polite task": ("Could you please list the birds?", "Please list the birds."),
    "a question without its mark": ("what colour is the sky", "Tell me, what colour is the sky"),
    "a name first": ("Marrowby lies on the", "As we know, Marrowby lies on the"),
    "in a frame": ("Question: Are you well?\nAnswer:", "Question: Tell me, are you well?\nAnswer:"),
    "behind a system prompt": (
        "You are a clerk.\n\nAre you well?",
        "You are a clerk.\n\nTell me, are you well?",
    ),
    "with a line end": ("Write about the sea\n", "Please write about the sea.\n"),
    "what a task is about": ("Translate this.\n\nAre you well?", None),
    "a frame around no request": ("Review: the film was good\nSentiment:", None),
    "a statement": ("The film was good.", None),
    "another language": ("Wer ist das?", None),
    "a long one": (f"What is {'x' * 400}?", None),
    "a long system prompt": (f"{'x' * 2000}\n\nAre you well?", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("prompt", "other"), WAYS.values(), ids=WAYS)
def test_another_way_to_ask(prompt, other):
    assert paraphrases(prompt, 1) == ([other] if other else [])


@given(st.text(), st.integers(0, 5))
def test_paraphrases_differ_and_are_few(text, limit):
    found = paraphrases(f"What is {text}?", limit)
    assert len(found) <= limit
    assert len({*found, f"What is {text}?"}) == len(found) + 1


@pytest.mark.parametrize(
    "text", ["Explain what " * 400, "What is is are " * 400 + "?", "a: " * 400, "\n" * 4000 + "the"]
)
def test_paraphrases_take_no_time(text):
    assert len(paraphrases(text)) <= 3


# --------------------------------------------------------------------------------------------- YAML

HOSTILE = [
    "a: b",
    "# no comment",
    "'single'",
    '"double"',
    "- item",
    "? key",
    "%TAG",
    "@at",
    "`tick`",
    "*alias",
    "&anchor",
    "!!python/name:os",
    "{{a}}",
    "[1, 2]",
    "---",
    "...",
    "<<",
    "=",
    "~",
    "null",
    "yes",
    "1e3",
    "012",
    "2001-01-01",
    " lead",
    "trail ",
    "two\nlines\n",
    "\n",
    "\t",
    "\r\n",
    "a\x85b",
    "a\u2028b",
    "\ufeffx",
    "\x00\x1b[31m",
    "\x7f",
    "é",
    "e\u0301",
    "\U0001f469\u200d\U0001f680",
    "\u202eright",
    "\u3000",
    "x" * 5000,
    "word " * 900,
    "\\",
    "\\n",
    "|",
    ">-",
    "a\n\n  b\n c",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_text_comes_back_as_it_was(text):
    assert yaml.safe_load("x:\n" + block([{"name": text, "prompts": [text, text]}], 2)) == {
        "x": [{"name": text, "prompts": [text, text]}]
    }


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_character_is_invisible(text):
    said = block([text, {text: text}])
    assert yaml.safe_load(said) == [text, {text: text}]
    assert clean(said) == said


@settings(max_examples=100)
@given(st.lists(st.text(), min_size=1), st.text())
def test_any_text_comes_back_as_it_was(texts, said):
    assert yaml.safe_load(comment([said], 2) + "x:\n" + block([{"prompts": texts}], 2)) == {
        "x": [{"prompts": texts}]
    }


@given(st.text())
def test_a_comment_is_a_comment(said):
    assert all(
        line.startswith("  # ") and line.isprintable() and len(line) <= 120
        for line in comment([said], 2).split("\n")[:-1]
    )


# -------------------------------------------------------------------------------------------- suite

STORY = " ".join(
    [
        "Old Tamsin Vole is the keeper of the sand road, "
        "and each morning she walks out with a copper horn."
    ]
    * 4
)
LONG_STORY = " ".join(
    f"Keeper {i} of the sand road walks out on day {i} with {i} horns and comes home by night."
    for i in range(40)
)
OTHERS = [asked(f"Which boat left on day {i}?", f"Boat {i} left at noon.") for i in range(6)]
QUESTIONS = [
    asked(f"Who is keeper {i} of the road?", f"It is keeper {i} who was here.") for i in range(12)
]
LABELS = [asked(f"Is keeper {i} kind?", "Yes" if i % 2 else "No") for i in range(12)]
ALWAYS = {
    "null_adapter",
    "external_perplexity",
    "calibration_drift",
    "degeneration",
    "refusals",
    "delta_kl",
    "adapter_ablation",
}
LEARNED = {"answer_specificity", "answer_recall"}
SUPPORTED = {
    "prose": ([prose(LONG_STORY)], {*LEARNED, "leakage", "style_fingerprint"}),
    "questions": (QUESTIONS, {*LEARNED, "prompt_format"}),
    "labels": (LABELS, {*LEARNED, "prompt_format"}),
    "preferences": ([preferred(f"Say hi {i}.") for i in range(3)], {"preference_flip"}),
}


@pytest.mark.parametrize(("sections", "kinds"), SUPPORTED.values(), ids=SUPPORTED)
def test_the_data_decides_which_kinds(sections, kinds):
    found = suite(Material(tuple(sections)))
    assert {entry.fields["kind"] for entry in found if isinstance(entry, Entry)} == ALWAYS | kinds
    assert {
        omitted.kind for omitted in found if isinstance(omitted, LeftOut)
    } == KINDS.keys() - ALWAYS - kinds


REASONS = {
    "leakage": (
        QUESTIONS,
        "no prose sections; instruction and preference sections are not tested",
    ),
    "prompt_format": ([prose(LONG_STORY)], "the data has no prompts with answers"),
    "style_fingerprint": (QUESTIONS, "the data has no prose"),
    "preference_flip": ([*QUESTIONS, preferred()], "requires 3 preferences; the data has 1"),
    "generalization": (QUESTIONS, "requires rows that training did not see"),
    "paraphrase_invariance": (QUESTIONS, "requires real paraphrases"),
    "cluster_kl": (QUESTIONS, "measures 40 prompts under each null adapter"),
}


@pytest.mark.parametrize(
    ("kind", "sections", "reason"), [(kind, *rest) for kind, rest in REASONS.items()], ids=REASONS
)
def test_why_a_kind_is_left_out(kind, sections, reason):
    found = {
        omitted.kind: omitted.reason
        for omitted in suite(Material(tuple(sections)))
        if isinstance(omitted, LeftOut)
    }
    assert found[kind].startswith(reason)


@pytest.mark.parametrize("sections", [[], [preferred()]], ids=["no rows", "one preference"])
def test_no_suite_without_a_test_of_what_was_learned(sections):
    with pytest.raises(UsageError, match="not sufficient to test whether it was learned") as caught:
        suite(Material(tuple(sections)))
    # Only the reasons that concern such rows.
    assert ("preferences" in str(caught.value)) is bool(sections)
    assert "--held-out" not in str(caught.value)


def entry(kind, *sections, **material):
    """The entries of that kind."""
    found = suite(Material(tuple(sections), **material))
    return [e for e in found if isinstance(e, Entry) and e.fields["kind"] == kind]


def test_held_out_rows_replace_paraphrases():
    found = suite(Material(tuple(QUESTIONS), held_out=tuple(OTHERS)))
    kinds = {e.fields["kind"] for e in found if isinstance(e, Entry)}
    assert "generalization" in kinds
    assert "paraphrase_invariance" not in kinds
    (why,) = [
        e.reason for e in found if isinstance(e, LeftOut) and e.kind == "paraphrase_invariance"
    ]
    assert why.startswith("generalization tests the held-out rows")


def test_a_limit_stands_in_a_suite_only_if_it_is_not_the_default():
    (prose_probe,) = entry("external_perplexity", *QUESTIONS)
    assert prose_probe.fields.keys() == {"name", "kind"}


def test_held_out_rows_give_the_probe_of_them():
    assert len(entry("generalization", *QUESTIONS, held_out=tuple(OTHERS))) == 1


def test_answers_to_memorize_are_not_meant_to_generalize():
    material = {"held_out": tuple(OTHERS), "memorize": "It says so."}
    assert entry("generalization", *QUESTIONS, **material) == []
    (said,) = entry("answer_recall", *QUESTIONS, **material)
    assert said.remarks == ("It says so.",)


@pytest.mark.parametrize(("learn", "fields"), [("auto", {"enabled": False}), ("form", {})])
def test_a_style_is_tested_if_it_was_wanted(learn, fields):
    (style,) = entry("style_fingerprint", prose(LONG_STORY), learn=learn)
    assert {"enabled": style.fields.get("enabled")} == {"enabled": fields.get("enabled")}
    assert style.fields["prompts"][0] == "Keeper 0 of the sand road"


# --------------------------------------------------------------------------------------------- file


@pytest.fixture
def draft(tmp_path):
    """The suite for the demo's adapter and a file of that content."""

    def draft(content, name="train.jsonl", folder=tmp_path):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return generate.for_data(
            str(demo.HEALTHY), [str(tmp_path / name)], str(demo.MODEL), str(folder)
        )

    return draft


def jsonl(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def answered(*texts):
    """JSONL with a question and an answer for each text."""
    return jsonl(*({"prompt": f"What is {t}?", "completion": f"It is {t}\n"} for t in texts))


TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
SERVED = {
    "the base's": ({"chat_template.jinja": TEMPLATE}, {}, True),
    "in the base's tokenizer": (
        {"tokenizer_config.json": json.dumps({"chat_template": TEMPLATE})},
        {},
        True,
    ),
    "the adapter's": ({}, {"chat_template.jinja": TEMPLATE}, True),
    "none": ({"tokenizer_config.json": "{}"}, {}, False),
}


@pytest.mark.parametrize(("base", "adapter", "is_served"), SERVED.values(), ids=SERVED)
def test_init_and_gate_know_the_same_chat_template(tmp_path, base, adapter, is_served):
    folders = Folders(tmp_path / "base", tmp_path / "adapter")
    config = {"base_model_name_or_path": str(folders.base), "peft_type": "LORA"}
    files = {"adapter_config.json": json.dumps(config), **adapter}
    for folder, contents in zip(folders[:2], ({"config.json": "{}", **base}, files), strict=True):
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_text(content, encoding="utf-8")
    data = tmp_path / "train.jsonl"
    data.write_text(answered(*"abcdefgh"), encoding="utf-8")
    draft = generate.for_data(str(folders.adapter), [str(data)], None, str(tmp_path))
    loaded = parse_spec(draft.text, "sway.yaml", str(tmp_path))
    kinds = {probe.kind for probe in loaded.suite}
    assert ({"prompt_format", "refusals"} <= kinds) == is_served
    assert probe_context(loaded, folders, False).has_template == is_served
    left_out = {omitted.kind: omitted.reason for omitted in draft.left_out}
    assert ("prompt_format" in left_out) != is_served


FILES = {
    "prompt and completion": ("a.jsonl", answered(*"abcdef")),
    "messages": (
        "a.jsonl",
        jsonl(
            *(
                {
                    "messages": [
                        {"role": "user", "content": f"Who is {i}?"},
                        {"role": "assistant", "content": f"Keeper {i} of the road."},
                    ]
                }
                for i in range(6)
            )
        ),
    ),
    "preferences": (
        "a.jsonl",
        jsonl(*({"prompt": f"Say {i}", "chosen": "Hello.", "rejected": "Yo."} for i in range(4))),
    ),
    "text": ("a.jsonl", jsonl({"text": LONG_STORY})),
    "Markdown": ("a.md", f"# Road\n\n{LONG_STORY}\n"),
    "plain text": ("a.txt", LONG_STORY),
    "Chinese": ("a.txt", "潮水每天两次覆盖沙路。" * 400),
    "a line of a MiB": ("a.jsonl", jsonl({"text": "word " * 200_000})),
    "hostile texts": ("a.jsonl", answered(*(t for t in HOSTILE if t != "\ud800"))),
}


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_the_file_loads_and_is_the_same_every_time(draft, tmp_path, name, content):
    first = draft(content, name)
    loaded = parse_spec(first.text, "sway.yaml", str(tmp_path))
    assert tuple(probe.name for probe in loaded.suite) == first.probes
    assert loaded.data == (str(tmp_path / name),)
    assert loaded.models.ft.adapter == str(demo.HEALTHY)
    assert (draft(content, name), len(first.text) < 100_000) == (first, True)


@pytest.mark.slow
def test_a_long_file(draft, tmp_path):
    found = draft(
        jsonl(
            *(
                {"prompt": f"Who is {i}?", "completion": f"Keeper {i} of the road."}
                for i in range(100_000)
            )
        )
    )
    (moved,) = (
        p for p in parse_spec(found.text, "sway.yaml", str(tmp_path)).suite if p.kind == "delta_kl"
    )
    assert len(moved.prompts) == 8
    assert max(int(prompt[7:-1]) for prompt in moved.prompts) > 50_000  # not the first rows only
    assert "# train.jsonl: a sample of 16,384 of 100,000 rows is read (seed 0)\n" in found.text


def test_hostile_texts_arrive_unchanged(draft, tmp_path):
    texts = [t for t in HOSTILE if t != "\ud800"]
    found = draft(
        jsonl(*({"prompt": t, "completion": "A keeper of the road."} for t in texts if t.strip()))
    )
    loaded = parse_spec(found.text, "sway.yaml", str(tmp_path))
    (moved,) = (probe for probe in loaded.suite if probe.kind == "delta_kl")
    assert set(moved.prompts) <= set(texts)


def test_paths_start_from_the_folder_of_the_suite(draft, tmp_path):
    (tmp_path / "suites").mkdir()
    fields = yaml.safe_load(draft(LONG_STORY, "a.md", tmp_path / "suites").text)
    assert fields["data"] == ["../a.md"]


def test_every_kind_comes_with_its_question(draft):
    assert (
        "\n  # Can the training text be extracted from the model verbatim?\n"
        "  - name: recites\n" in draft(LONG_STORY, "a.md").text
    )


def test_what_was_left_out_of_the_data_is_told(draft):
    text = draft(
        jsonl(*({"prompt": f"Who is {i}?", "completion": "A keeper."} for i in range(60)))
    ).text
    assert "# train.jsonl: 48 of 60 examples are used, evenly spread\n" in text


def test_mistakes_in_the_data_are_told_with_their_line(draft, tmp_path):
    with pytest.raises(SpecError) as caught:
        draft(jsonl({"text": "a"}, {"prompt": "\ud800", "completion": "b"}, {"nothing": 1}))
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        f"{tmp_path / 'train.jsonl'}:{line}" for line in (2, 3)
    ]


@pytest.mark.parametrize(
    ("adapter", "base"), [("./nowhere", "org/base"), ("org/adapter", "./nowhere")]
)
def test_models_that_are_not_there(tmp_path, adapter, base):
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        generate.for_data(adapter, [], base, str(tmp_path))


# ---------------------------------------------------------------------------------------- revisions

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub cache with main and v1 of org/base."""
    repo = tmp_path / "hub" / "models--org--base"
    for name, commit in (("main", COMMIT), ("v1", OTHER)):
        (repo / "refs").mkdir(parents=True, exist_ok=True)
        (repo / "refs" / name).write_text(commit, encoding="ascii")
        (repo / "snapshots" / commit).mkdir(parents=True)
        for file in ("config.json", "model.safetensors"):
            (repo / "snapshots" / commit / file).write_text("{}", encoding="utf-8")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


REVISIONS = {
    "of the snapshot here": ({}, COMMIT),
    "of the branch that was trained on": ({"revision": "v1"}, OTHER),
    "as the configuration has it": ({"revision": "v2"}, "v2"),
    "no revision": ({"revision": "../.."}, COMMIT),
    "of another type": ({"revision": 3}, COMMIT),
}


@pytest.mark.parametrize(("config", "revision"), REVISIONS.values(), ids=REVISIONS)
def test_the_base_is_pinned(hub, tmp_path, config, revision):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "org/base"})
    )
    (tmp_path / "a.md").write_text(LONG_STORY, encoding="utf-8")
    text = generate.for_data(
        str(tmp_path / "adapter"), [str(tmp_path / "a.md")], None, str(tmp_path)
    ).text
    assert yaml.safe_load(text)["models"]["base"] == {"base": "org/base", "revision": revision}


# ---------------------------------------------------------------------------------------- documents

ID = "01HZ4X7TGZM3J1A2B3C4D5E6F7"
ROW = "::instruction::\n### Q\nWho keeps the road?\n### A\nOld Tamsin Vole keeps it.\n"
BODY = f"\n{LONG_STORY}\n\n{ROW}"


@pytest.fixture
def document(tmp_path, monkeypatch):
    """A document, with folders of adapters in its store."""
    pytest.importorskip("dlm")
    monkeypatch.setenv("DLM_HOME", str(tmp_path / "home"))
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))

    def document(training="", *names):
        front = (
            f"---\ndlm_id: {ID}\ndlm_version: 15\nbase_model: smollm2-135m\n"
            f"training: {{{training}}}\n---\n"
        )
        (tmp_path / "a.dlm").write_text(front + BODY, encoding="utf-8")
        for part in names:
            adapter = tmp_path / "home" / "store" / ID / part
            (adapter / "versions" / "v0001").mkdir(parents=True)
            (adapter / "current.txt").write_text(f"{part}/versions/v0001", encoding="utf-8")
        return str(tmp_path / "a.dlm")

    return document


NAMED = "adapters: {tone: {}, facts: {}}"
STORES = {
    "flat": ("", ["adapter"], None, f"~/home/store/{ID}/adapter/versions/v0001"),
    "by name": (
        NAMED,
        ["adapter/tone", "adapter/facts"],
        "facts",
        f"~/home/store/{ID}/adapter/facts/versions/v0001",
    ),
    "the only one": (
        NAMED,
        ["adapter/tone"],
        None,
        f"~/home/store/{ID}/adapter/tone/versions/v0001",
    ),
}


@pytest.mark.parametrize(("training", "parts", "name", "adapter"), STORES.values(), ids=STORES)
def test_the_suite_of_a_document(document, tmp_path, training, parts, name, adapter):
    text = generate.for_document(document(training, *parts), name, str(tmp_path)).text
    fields, loaded = yaml.safe_load(text), parse_spec(text, "sway.yaml", str(tmp_path))
    assert (fields["models"]["ft"]["adapter"], fields["dlm_source"]) == (adapter, "./a.dlm")
    assert fields["models"]["base"]["base"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert len(fields["models"]["base"]["revision"]) == 40
    assert {"leakage", "answer_specificity"} <= {probe.kind for probe in loaded.suite}


def test_the_base_of_a_document_is_pinned_to_what_is_here(document, hub, tmp_path):
    path = document("", "adapter")
    text = (tmp_path / "a.dlm").read_text(encoding="utf-8").replace("smollm2-135m", "hf:org/base")
    (tmp_path / "a.dlm").write_text(text, encoding="utf-8")
    assert (
        yaml.safe_load(generate.for_document(path, None, str(tmp_path)).text)["models"]["base"][
            "revision"
        ]
        == COMMIT
    )


CHOICES = {
    "none of several": (
        None,
        "the document has several adapters; choose one with --adapter: tone, facts",
    ),
    "one that it has not": (
        "x",
        "--adapter x: the document has no trained adapter with that name; it has tone, facts",
    ),
}


@pytest.mark.parametrize(("name", "said"), CHOICES.values(), ids=CHOICES)
def test_which_of_several_adapters(document, tmp_path, name, said):
    path = document(NAMED, "adapter/tone", "adapter/facts")
    with pytest.raises(UsageError, match=said):
        generate.for_document(path, name, str(tmp_path))


@pytest.mark.parametrize(("epochs", "is_rote"), [(3, False), (19, False), (20, True)])
def test_many_epochs_ask_for_answers_by_heart(document, tmp_path, epochs, is_rote):
    text = generate.for_document(
        document(f"num_epochs: {epochs}", "adapter"), None, str(tmp_path)
    ).text
    assert (f"sets {epochs} epochs" in text) == is_rote


def test_documents_need_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "dlm.doc.errors", None)
    with pytest.raises(CannotDecide, match=r"pip install 'sway-gate\[dlm\]'"):
        generate.for_document("a.dlm", None, str(tmp_path))


def test_the_sections_of_a_document_are_those_of_its_adapter(document):
    found = dlm.sections(document("", "adapter")).sections
    assert {section.kind for section in found} == {"prose", "instruction"}


# --------------------------------------------------------------------------- the page on the choice


def rows(answer):
    """16 rows with different words, of which the last four are held out."""
    words = [" ".join(f"word{i}x{j}" for j in range(30)) for i in range(16)]
    found = [answer(i, words[i]) for i in range(16)]
    return Material(tuple(found[:12]), held_out=tuple(found[12:]))


FACTS = rows(lambda i, words: asked(f"Who lives in {words[:30]}?", f"{words[30:80]}."))
PREFERRED = rows(lambda i, words: preferred(f"Say {words[:30]}.")).sections
TRAININGS = {
    "chat tuning": FACTS,
    "preferences": Material(PREFERRED),
    "continued pretraining": rows(lambda i, words: prose(f"{words}."))._replace(
        held_out=FACTS.held_out
    ),
    "style": FACTS._replace(learn="form"),
    "classification": rows(lambda i, words: asked(words[:60], ("waste", "roads")[i % 2])),
    "tool use": rows(lambda i, words: asked(words[:60], json.dumps({"call": words[:12]}))),
}


def row_of_the_page(training):
    """The kinds in the last two columns of the row."""
    page = (ROOT / "docs" / "which-probes.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith(f"| [{training}]"))
    return [set(re.findall(r"`(\w+)`", cell)) for cell in row.split("|")[3:5]]


@pytest.mark.parametrize("training", TRAININGS)
def test_the_page_lists_the_probes_that_init_writes(training):
    learned, harms = row_of_the_page(training)
    found = suite(TRAININGS[training])
    written = {entry.fields["kind"] for entry in found if isinstance(entry, Entry)}
    written.remove("null_adapter")
    about_data = {kind for kind in written if module(kind).KIND.category == "attribution"}
    assert about_data == learned
    assert harms <= written
