"""`.dlm` documents: sections of each kind, routing to named adapters, the store, refusals."""

import contextlib
import json
import os
import sys

import pytest

from sway_gate.errors import CannotDecide, SpecError
from sway_gate.training_data import dlm
from tests.helpers.property import HealthCheck, given, settings, st

ID = "01HZ4X7TGZM3J1A2B3C4D5E6F7"
FRONT = f"---\ndlm_id: {ID}\ndlm_version: 15\nbase_model: smollm2-135m\n---\n"
NAMED = FRONT.replace("15\n", "15\ntraining: {adapters: {tone: {}, facts: {}}}\n")
WORDS = " ".join(f"word{i}" for i in range(20))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def write(tmp_path):
    """Write a document; its path."""
    pytest.importorskip("dlm")

    def write(content):
        path = tmp_path / "a.dlm"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture
def sections(write):
    return lambda body, front=FRONT, judged="": dlm.sections(write(front + body), judged)


@pytest.fixture
def mistakes(write):
    """The lines of the error, without the folder."""

    def mistakes(content, act=dlm.sections):
        path = write(content)
        with pytest.raises(SpecError) as caught:
            act(path)
        return [problem.replace(path, "a.dlm") for problem in caught.value.problems]

    return mistakes


def said(section):
    """Content of a section, without the names of fields."""
    texts = ("prompt", "gold", "chosen", "rejected")
    return section.content or [
        tuple(getattr(p, field) for field in texts if hasattr(p, field)) for p in section.pairs
    ]


DOCUMENT = f"""
# Road

{WORDS}

::instruction::
### Q
Who keeps the road?
### A
Tamsin Vole.

```sh
# She blows a horn.
::preference::
```

### Q !probe

What is the horn
made of?
### A
Copper.

::image path="a.png"::
caption

::preference::
<!-- dlm-auto-harvest: source="run_1" -->
### Prompt
Say hi.

### Chosen
Hello.
### Rejected
Yo.

::prose::
{WORDS} more
"""


def test_every_kind_of_section(sections):
    loaded = sections(DOCUMENT)
    horn = "Tamsin Vole.\n\n```sh\n# She blows a horn.\n::preference::\n```"
    assert [(s.kind, s.tag, said(s)) for s in loaded.sections] == [
        ("prose", "Road", WORDS),
        (
            "instruction",
            "a.dlm:11",
            [("Who keeps the road?", horn), ("What is the horn\nmade of?", "Copper.")],
        ),
        ("preference", "a.dlm:32", [("Say hi.", "Hello.", "Yo.")]),
        ("prose", "word0 word1 word2 word3 word4… (a.dlm:43)", f"{WORDS} more"),
    ]
    assert loaded.notes == ("a.dlm: image sections are left out (1): only text is supported",)


def test_line_ends_and_byte_order_mark_do_not_matter(write):
    text = FRONT + DOCUMENT
    assert dlm.sections(
        write(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    ) == dlm.sections(write(text))


def test_sources_of_training_are_noted(sections):
    loaded = sections(WORDS, FRONT.replace("15\n", "15\ntraining: {sources: [{path: ./src}]}\n"))
    assert loaded.notes == (
        "a.dlm: files under training.sources are left out (./src); list text files under `data:`",
    )


def qa(number, fence="::instruction::", start=0):
    return (
        fence + "\n" + "".join(f"### Q\nq{i}\n### A\na\n\n" for i in range(start, start + number))
    )


def test_pairs_are_thinned_and_doubles_dropped(sections):
    loaded = sections(qa(100) + qa(100, start=100))
    assert [len(section.pairs) for section in loaded.sections] == [24, 24]
    assert loaded.notes == (
        "a.dlm: 48 of 200 pairs of instruction sections are used, evenly spread",
    )
    doubled = sections(qa(1) + qa(1))
    assert (len(doubled.sections), doubled.notes) == (1, ("a.dlm: duplicates are left out (1)",))


_QUESTIONS = st.sampled_from(
    ["### Q\nq", "### Q !probe\nr\ns", " ### Q \n  t  ", "### Q\n### B\nu"]
)
_ANSWERS = st.sampled_from(["### A\na", "\n### A\nb\n# c\n", " ### A\n  d  ", "\n### A\ne\n\n"])


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(_QUESTIONS, _ANSWERS), min_size=1, max_size=5))
def test_whatever_dlm_trains_on_is_read_alike(write, pairs):
    from dlm.data.sections_to_rows import sections_to_rows
    from dlm.doc.parser import parse_text

    text = "\n".join([f"{FRONT}::instruction::", *(part for pair in pairs for part in pair)])
    rows = sections_to_rows(list(parse_text(text).sections))
    (section,) = dlm.sections(write(text)).sections
    assert said(section) == [
        tuple(message["content"] for message in row["messages"]) for row in rows
    ]


BROKEN = {
    "no front matter": ("text", "1: not a .dlm document: it must begin with front matter"),
    "open front matter": ("---\ndlm_id: x", "1: not a .dlm document: it must begin with"),
    "id": (
        FRONT.replace(ID, "../x"),
        "2: dlm_id: Value error, dlm_id must be a 26-char Crockford base32 ULID, got '../x'",
    ),
    "unknown field": (
        FRONT.replace("15\n", "15\nfoo: 1\n"),
        "2: foo: Extra inputs are not permitted",
    ),
    "YAML": (FRONT.replace("15\n", "15\nfoo: *x\n"), "4:6: not valid YAML"),
    "deep": (
        FRONT.replace("15\n", f"15\nfoo: {'[' * 9999}\n"),
        "4:69: nested deeper than 64 levels",
    ),
    "object": (FRONT.replace("15\n", "15\nfoo: !!python/object:os.system {}\n"), "4:6: "),
    "date": (
        FRONT.replace("15\n", "15\nfoo: 2026-99-99\n"),
        " dlm cannot read it (ValueError)",
    ),
    "long front matter": (
        FRONT.replace("15\n", f"15\nfoo: {'a' * 2**18}\n"),
        "1: front matter longer than 256 KiB",
    ),
    "no sections": (FRONT, " contains no usable text"),
    "fence": (f"{FRONT}\n::foo::\n", "7: unknown section fence '::foo::'"),
    "adapter": (
        f"{FRONT}\n{qa(1, '::instruction#tone::')}",
        "7: names the adapter 'tone', which training.adapters does not",
    ),
    "no pairs": (f"{FRONT}::instruction::\n\n", "6: `### Q` is missing before the section ends"),
    "text before": (f"{FRONT}::instruction::\n\nfoo\n", "8: text before the first `### Q`"),
    "order": (f"{FRONT}::instruction::\n### A\na\n", "7: found `### A`, expected `### Q`"),
    "two questions": (
        f"{FRONT}::instruction::\n### Q\na\n### Q\nb\n",
        "9: found `### Q`, expected `### A`",
    ),
    "empty": (f"{FRONT}::instruction::\n### Q\n\n### A\nb\n", "7: `### Q` has no text"),
    "no answer": (
        f"{FRONT}::instruction::\n### Q\na\n",
        "7: `### A` is missing before the section ends",
    ),
    "no rejected": (
        f"{FRONT}::preference::\n### Prompt\na\n### Chosen\nb\n",
        "9: `### Rejected` is missing before",
    ),
    "Latin-1": (FRONT.encode() + b"\xe9", "6: not UTF-8 text; save the file as UTF-8"),
    "NUL": (
        FRONT.encode() + b"\0",
        "6: binary data or UTF-16 text; save the file as UTF-8",
    ),
    "large": (
        b"a" * (dlm.MAX_BYTES + 1),
        " larger than 4 MiB; move long texts to files under `data:`",
    ),
    "LFS": (
        "version https://git-lfs.github.com/spec/v1\n",
        " is a Git LFS pointer; run `git lfs pull`",
    ),
}


@pytest.mark.parametrize(("content", "expected"), BROKEN.values(), ids=BROKEN)
def test_broken_documents(mistakes, content, expected):
    (found,) = mistakes(content)
    assert found.startswith(f"a.dlm:{expected}")
    assert found.isprintable()


def test_aliases_that_write_out_to_billions_are_refused(mistakes):
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 12))
    (found,) = mistakes(FRONT.replace("15\n", f"15\nx0: &x0 [a]\n{levels}"))
    assert found.startswith("a.dlm:")


def test_mistakes_of_all_sections_at_once(mistakes):
    found = mistakes(f"{FRONT}::instruction::\nfoo\n::preference#x::\nfoo\n")
    assert [problem.split(":")[1] for problem in found] == ["8", "7", "9"]


def test_a_missing_document(write):
    with pytest.raises(SpecError, match="none: no such file"):
        dlm.sections("none")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.sampled_from(
            [
                FRONT,
                "::instruction::",
                "::preference#a::",
                "### Q",
                "\n",
                "```",
                "x: &a [*a]",
                "---",
            ]
        )
    )
)
@pytest.mark.parametrize("act", [dlm.sections, dlm.adapter])
def test_no_document_raises_anything_but_our_errors(write, act, parts):
    path = write("\n".join(parts))
    with contextlib.suppress(SpecError, CannotDecide):
        act(path)


@pytest.mark.parametrize("act", [dlm.sections, dlm.adapter])
def test_without_the_extra(act, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlm.doc.errors", None)
    with pytest.raises(
        CannotDecide,
        match=r"a\.dlm: to read \.dlm documents, install the extra: pip install 'sway-gate\[dlm\]'",
    ):
        act("a.dlm")


# -------------------------------------------------------------------------------------------- store


def store(home, pointers, manifest=None):
    """A store with these pointers, from the folder that has one to what it says."""
    root = home / "store" / ID
    for folder, target in pointers.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "current.txt").write_text(target, encoding="utf-8")
        if ".." not in target:
            (root / target.strip()).mkdir(parents=True, exist_ok=True)
    if manifest is not None:
        (root / "manifest.json").write_text(manifest, encoding="utf-8")
    return root


def test_the_current_adapter_of_a_flat_store(write, home):
    root = store(home, {"adapter": "adapter/versions/v0002\n"})
    trained = dlm.adapter(write(FRONT))
    assert trained.base == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert len(trained.revision) == 40
    assert trained.adapters == {"": str(root / "adapter/versions/v0002")}


def test_the_adapters_of_a_store_with_names(write, home):
    root = store(
        home, {f"adapter/{name}": f"adapter/{name}/versions/v0001" for name in ("facts", "other")}
    )
    assert dlm.adapter(write(NAMED)).adapters == {
        "facts": str(root / "adapter/facts/versions/v0001")
    }


RUNS = [
    {"base_model_revision": "r1"},
    {"base_model_revision": "r2", "run_id": 2},
    {"base_model_revision": None},
]
REVISIONS = {
    "of the last run": (
        {"base_model": "hf:org/name", "base_model_revision": "r0", "training_runs": RUNS},
        "r2",
    ),
    "of the store": ({"base_model": "hf:org/name", "base_model_revision": "r0"}, "r0"),
    "of another base": ({"base_model": "hf:org/other", "base_model_revision": "r0"}, None),
    "untold": ({"base_model": "hf:org/name"}, None),
}


@pytest.mark.parametrize(("manifest", "revision"), REVISIONS.values(), ids=REVISIONS)
def test_the_base_and_its_revision(write, home, manifest, revision):
    store(home, {"adapter": "adapter/versions/v0001"}, json.dumps(manifest))
    trained = dlm.adapter(write(FRONT.replace("smollm2-135m", "hf:org/name")))
    assert (trained.base, trained.revision) == ("org/name", revision)


@pytest.mark.parametrize("base", ["nope", "hf:x y", "hf:../x", "hf:a/b/c"])
def test_bases_that_are_not_known(mistakes, home, base):
    store(home, {"adapter": "adapter/versions/v0001"})
    expected = (
        f"a.dlm:4: base_model {base!r} is neither in dlm's registry nor of the form hf:org/name"
    )
    assert mistakes(FRONT.replace("smollm2-135m", base), dlm.adapter) == [expected]


@pytest.mark.parametrize(
    "manifest", ["{", "[]", "[" * 9999, '{"training_runs": 1}', '{"base_model": "\\ud800"}']
)
def test_broken_manifests(mistakes, home, manifest):
    root = store(home, {"adapter": "adapter/versions/v0001"}, manifest)
    (found,) = mistakes(FRONT, dlm.adapter)
    assert found.startswith(f"{root / 'manifest.json'}: not a valid dlm manifest: ")


def test_a_pointer_out_of_the_store_is_refused(mistakes, home):
    root = store(home, {"adapter": "../../.."})
    (found,) = mistakes(FRONT, dlm.adapter)
    assert found.startswith(f"{root / 'adapter'}: the store's pointer to its adapter is broken (")


def test_an_untrained_document_leaves_no_trace(write, home):
    path = write(FRONT)
    with pytest.raises(CannotDecide, match=r"has no trained adapter in .* run `dlm train` on it"):
        dlm.adapter(path)
    assert not home.exists()


def test_nothing_is_written(write, home, tmp_path):
    store(home, {"adapter": "adapter/versions/v0001"}, "{}")
    path = write(FRONT + DOCUMENT)
    before = {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    dlm.sections(path)
    dlm.adapter(path)
    assert {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


ROUTED = "\n".join(
    [
        f"{WORDS} all",
        qa(1, start=1),
        qa(1, "::instruction#facts::", 2),
        f"::prose#tone::\n{WORDS} tone",
    ]
)
ROUTES = {
    "tone": [f"{WORDS} all", [("q1", "a")], f"{WORDS} tone"],
    "facts": [f"{WORDS} all", [("q2", "a")]],
}


@pytest.mark.parametrize(("name", "expected"), ROUTES.items())
def test_sections_of_one_of_several_adapters(sections, home, name, expected):
    root = store(home, {f"adapter/{name}": f"adapter/{name}/versions/v0001"})
    loaded = sections(ROUTED, NAMED, os.path.join(root, "adapter", name, "versions", "v0001"))
    assert ([said(section) for section in loaded.sections], loaded.notes) == (expected, ())


def test_sections_of_all_adapters(sections):
    loaded = sections(ROUTED, NAMED, "elsewhere")
    assert [section.tag.rpartition(" (")[2].rstrip(")") for section in loaded.sections] == [
        "a.dlm:7",
        "a.dlm:8",
        "a.dlm:15 #facts",
        "a.dlm:23",
    ]
    assert loaded.notes == ("a.dlm: the sections of all its adapters are used (tone, facts)",)
