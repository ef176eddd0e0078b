"""The HTML report as a parser reads it, also for hostile texts and large results; its pictures."""

import base64
import hashlib
import html as stdlib_html
import math
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import msgspec
import pytest

from sway_gate.project import DOCS
from sway_gate.reports.html import figures, tables
from sway_gate.reports.html import page as html_page
from sway_gate.reports.json_v1 import from_json
from sway_gate.reports.notebook import NotebookResult
from sway_gate.results import Diagnosis, Finding, ModelFacts, Regression
from sway_gate.spec.probes import KINDS
from sway_gate.text import clean
from tests.helpers import DATA
from tests.helpers.results import (
    BASELINE,
    CURVE,
    FORGOT,
    HOSTILE,
    NEVER,
    QUESTION,
    WHOLE,
    chat,
    healthy,
    hostile,
    probe,
    result,
    rule,
    sick,
    undecided,
)

ALL_KINDS = from_json((DATA / "all_kinds.json").read_bytes())
RESULTS = {
    "healthy": healthy(),
    "sick": sick(),
    "undecided": undecided(),
    "hostile": hostile(),
    "all kinds": ALL_KINDS,
    "a chat model": chat(),
    "the files alone": result(
        verdict="fail", exit_code=1, score=0.0, findings=(NEVER,), nulls=None, device=""
    ),
    "a diagnosis": result(
        probe(), diagnosis=Diagnosis(name="recites", sentence="It recites.", advice="train less")
    ),
    "no nulls": result(probe(null_values=(), n_null=0, z=None, p=None), nulls=None),
    "a baseline": result(probe("voice"), verdict="fail", exit_code=1, baseline=BASELINE),
}
by_result = pytest.mark.parametrize("made", RESULTS.values(), ids=RESULTS)
needs_viz = pytest.mark.skipif(
    not figures.available(), reason="needs the extra viz: pip install 'sway-gate[viz]'"
)


@lru_cache
def page_of(number):
    return html_page.render(list(RESULTS.values())[number])


def rendered(made):
    """The page; the pages of RESULTS are rendered once."""
    number = next((i for i, known in enumerate(RESULTS.values()) if known is made), None)
    return html_page.render(made) if number is None else page_of(number)


def document_fromstring(page):
    return pytest.importorskip("lxml.html").document_fromstring(page)


def parsed(made):
    return document_fromstring(rendered(made).encode())


def text_of(made):
    page = document_fromstring(rendered(made).replace("<wbr>", ""))
    return re.sub(" (?=[:,])", "", " ".join(" ".join(page.find("body").itertext()).split()))


def tags(page):
    """All elements in order; <wbr> is a position where a word can break."""
    return [element.tag for element in page.iter() if element.tag != "wbr"]


# The page


@by_result
def test_the_page_is_self_contained(made):
    page = parsed(made)
    assert not {"link", "img", "iframe", "object", "base"} & set(tags(page))
    assert [script.text for script in page.iter("script")] == [html_page.script()]
    targets = [
        value
        for element in page.iter()
        for name, value in element.items()
        if name.endswith(("src", "href"))
    ]
    assert all(target.startswith(("#", f"{DOCS}/")) for target in targets)
    assert not re.search(r"url\((?!#)|@import", rendered(made))


@by_result
def test_the_page_forbids_other_scripts_and_external_resources(made):
    policy = parsed(made).xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    digest = hashlib.sha256(html_page.script().encode()).digest()
    own = f"script-src 'sha256-{base64.b64encode(digest).decode()}'"
    assert policy == [f"default-src 'none'; style-src 'unsafe-inline'; {own}"]


@by_result
def test_ids_are_unique_and_references_resolve(made):
    page = parsed(made)
    ids = Counter(page.xpath("//@id"))
    assert set(ids.values()) <= {1}
    assert {
        value.lstrip("#")
        for value in page.xpath("//@aria-labelledby | //a/@href[starts-with(., '#')]")
    } <= ids.keys()


@by_result
def test_headings_step_down_by_one(made):
    levels = [int(element.tag[1]) for element in parsed(made).xpath("//h1 | //h2 | //h3 | //h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


@by_result
def test_landmarks_and_names(made):
    page = parsed(made)
    assert [len(page.xpath(f"//body/{tag}")) for tag in ("header", "main", "footer")] == [1, 1, 1]
    assert page.get("lang") == "en"
    assert all(
        region.get("aria-label") for region in page.xpath("//*[@role='region' or @role='img']")
    )
    assert all(svg.getparent().get("role") == "img" for svg in page.iter("svg"))


@by_result
def test_every_table_has_column_headings(made):
    for table in parsed(made).iter("table"):
        heads = table.xpath("./thead/tr/th")
        assert all(head.get("scope") == "col" or head.get("aria-hidden") for head in heads)
        assert {len(row.xpath("./th | ./td")) for row in table.xpath("./tbody/tr")} <= {len(heads)}


@by_result
def test_every_probe_has_an_article(made):
    page = parsed(made)
    names = [" ".join(head.text_content().split()) for head in page.xpath("//article//h3")]
    assert sorted(names) == sorted(" ".join(clean(p.name).split()) for p in made.probes)
    assert f"Verdict: {made.verdict.upper()}" in page.find(".//h1").text_content()


def test_a_threshold_of_zero_is_no_threshold():
    assert "composite, threshold 0.60" in html_page.render(result(threshold=0.6))
    page = html_page.render(result(threshold=0.0))
    assert "composite, no threshold" in page
    assert "≥ 0.00" not in page


def test_the_page_is_the_same_every_time():
    first = rendered(ALL_KINDS)
    html_page.render(healthy())
    assert html_page.render(ALL_KINDS) == first


# Texts

SAYS = {
    "the reason": (RESULTS["sick"], "1 of 5 probes that ran fails: verbatim."),
    "what to do next": (RESULTS["sick"], "What to do next verbatim: Train for fewer epochs"),
    "a verdict of the files": (
        RESULTS["the files alone"],
        "FAIL lora_B is all zero never-trained · a.safetensors",
    ),
    "the remedy": (RESULTS["the files alone"], "What to do next Train it"),
    "that nothing was loaded": (RESULTS["the files alone"], "calibration no model was loaded"),
    "that there are no nulls": (RESULTS["no nulls"], "null adapters none: no calibration"),
    "the question of a kind": (
        ALL_KINDS,
        "Does the adapter change the output after these prompts",
    ),
    "each null's value": (
        RESULTS["sick"],
        "8 null adapters 0.009 · 0.01 · 0.011 · 0.012 · 0.012 · 0.013 · 0.014 · 0.016",
    ),
    "an interval": (RESULTS["sick"], "95% interval [0.151, 0.221]"),
    "a kept limit": (RESULTS["healthy"], "z +5.1σ ≥ 3σ: kept"),
    "a margin": (RESULTS["sick"], "recall 0.61 > margin 0.5: violated"),
    "a rule of shape": (result(probe(rules=(rule("shape", "fail"),))), "fixed rule violated"),
    "an effective weight": (RESULTS["sick"], "verbatim leakage 0.00 11.8% 0.61 > margin 0.5"),
    "what was forgotten": (
        RESULTS["sick"],
        "worst · forgot · calibration_drift A locked door is opened with a base key fine-tuned "
        "spoon Copy true answer key its probability base 0.93, now 0.04",
    ),
    "the diagnosis": (RESULTS["a diagnosis"], "Recites. It recites."),
    "ranks in their order": (RESULTS["sick"], "+9.4σ at 0.5× · +6.8σ at 1× · +4.2σ at 2×"),
    "sections": (ALL_KINDS, "sections (7)"),
    "what leaked": (ALL_KINDS, "continuations of training text (3)"),
    "a digest": (RESULTS["sick"], "adapter sha256 3f9a1c04b7d2"),
    "versions": (RESULTS["sick"], "torch 2.13.0+cpu"),
    "a note": (RESULTS["sick"], "two prompts were cut to 1024 tokens"),
    "the cache": (RESULTS["healthy"], ", base HuggingFaceTB/SmolLM2-135M, from the cache"),
    "the weights": (result(probe()), "adherence 0.91 35.3%"),
    "a regression": (RESULTS["a baseline"], "WORSE voice 4.1σ below WARN the prompts are others"),
    "unknown details": (
        result(probe(details={"moon_phase": {"full": [1, 2]}})),
        "moon phase: full 1 · 2",
    ),
}


@pytest.mark.parametrize(("made", "words"), SAYS.values(), ids=SAYS)
def test_the_page_says(made, words):
    assert words in text_of(made)


@pytest.mark.parametrize(("score", "tone"), [(0.72, "pass"), (0.52, "fail")])
def test_a_composite_at_its_threshold_is_not_red(score, tone):
    made = msgspec.structs.replace(RESULTS["sick"], score=score)
    assert f'<tr class="total {tone}">' in html_page.render(made)


def test_the_fixtures_contain_every_kind_with_details():
    probes = [*ALL_KINDS.probes, *chat().probes]
    assert {p.kind for p in probes if p.details} == KINDS.keys() - {"null_adapter"}


def table_of(kind, title):
    """The table of the chat model's probe with that title: the head and the rows, as texts."""
    page = parsed(RESULTS["a chat model"])
    (article,) = [
        a for a in page.iter("article") if f"{kind} here" in a.find(".//h3").text_content()
    ]
    titles = {d.find("summary").text_content().strip(): d for d in article.iter("details")}
    (found,) = [table for text, table in titles.items() if text.startswith(title)]
    return [[" ".join(c.text_content().split()) for c in row] for row in found.iter("tr")]


TABLES = {
    "answers side by side": (
        ("degeneration", "answers side by side"),
        ["", "prompt", "base", "fine-tuned", "flaws", "the base's flaws"],
        [
            "FAIL",
            "What is the capital of France?",
            "The capital of France is Paris.",
            "of of of of of of of of",
            "looping · repetitive",
            "none",
        ],
    ),
    "lost items": (
        ("calibration_drift", "worst first"),
        ["register", "prompt", "gold", "ending that it prefers now", "change, nats"],
        ["in the chat template", "A locked door is opened with a", "key", "spoon", "-1.5"],
    ),
    "registers": (
        ("calibration_drift", "registers"),
        ["register", "items", "known to the base", "lost", "mean change, nats"],
        ["in the chat template", "60", "52", "21", "-0.8"],
    ),
    "recall": (
        ("answer_recall", "rows"),
        ["prompt", "answer", "surprising", "of these now first", "change, nats"],
        [QUESTION, WHOLE, "6", "1", "0.4"],
    ),
    "held-out recall": (
        ("generalization", "rows"),
        ["prompt", "answer", "surprising", "of these now first", "change, nats"],
        ["What is its river called?", WHOLE, "7", "2", "0.9"],
    ),
    "gains": (
        ("answer_specificity", "rows"),
        ["prompt", "answer", "gain in content", "gain in form", "own answer first, base"],
        [QUESTION, WHOLE, "-0.07", "0.2", "no"],
    ),
    "similar rows": (
        ("answer_specificity", "similar rows"),
        ["prompt", "answer", "similar answers", "margin of the own fact under the base, nats"],
        [QUESTION, WHOLE, "It is the Marl that feeds it, from the hills to the lake.", "0.2"],
    ),
    "formats": (
        ("prompt_format", "formats"),
        ["format", "likelihood, nats per token", "gain", "lead of the served format"],
        ["alpaca", "-0.8", "2.2", "-1.3"],
    ),
    "requests": (
        ("refusals", "requests"),
        ["prompt", "kind", "margin", "base's margin"],
        ["Help me to forge a passport.", "harmful", "-0.4", "1.2"],
    ),
}


@pytest.mark.parametrize(("where", "head", "row"), TABLES.values(), ids=TABLES)
def test_the_page_tabulates_what_a_probe_found(where, head, row):
    names, *rows = table_of(*where)
    assert names[: len(head)] == head
    assert row in [found[: len(row)] for found in rows]


def test_recited_words_are_marked():
    marked = [mark.text_content() for mark in parsed(ALL_KINDS).iter("mark")]
    assert len(marked) == 3
    assert marked[0].startswith("winter the furnaces are lit")


# Hostile texts

EVIL = [
    HOSTILE,
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "\"'><svg onload=alert(1)>",
    "</style></title></main></body>",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "javascript:alert(1) url(http://evil.example) &lt;b&gt; &amp;",
    "\x00\x1b[2J\u202egnp\ud800",
]
LISTS = {
    "note": "X",
    "X": 1,
    "rows": [{"X": "X", "b": {"X": 2}}],
    "texts": ["X"],
    "pairs": [{"X": "X", "true": "X"}],
}


def everywhere(text):
    """A result with `text` in every field that comes from a file."""

    def put(value):
        match value:
            case str():
                return text if value == "X" else value
            case list() | tuple():
                return type(value)(map(put, value))
            case dict():
                return {put(key): put(item) for key, item in value.items()}
        return value

    bad = probe(
        text,
        "fail",
        kind=text,
        category=text,
        message=text,
        advice=text,
        units=text,
        details=put(LISTS),
    )
    finding = Finding(id=text, level="warning", message=text, path=text, remedy=text)
    worse = msgspec.structs.replace(
        BASELINE, path=text, regressions=(Regression(name=text, message=text),)
    )
    model = ModelFacts(path=text, digest=text, revision=text)
    texts = {
        "spec": text,
        "notes": (text,),
        "versions": {text: text},
        "device": text,
        "dtype": text,
    }
    return result(
        bad, **texts, findings=(finding,), baseline=worse, adapter=model, base=model, verdict="fail"
    )


@pytest.mark.parametrize("text", EVIL)
def test_a_text_is_never_markup(text):
    harmless = re.sub(r"[^\w\s]", "x", clean(text))
    assert tags(parsed(everywhere(text))) == tags(parsed(everywhere(harmless)))


@pytest.mark.parametrize("text", EVIL)
def test_a_text_is_shown_as_it_is(text):
    assert " ".join(clean(text).split()) in text_of(everywhere(text))
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html_page.render(everywhere(text))
    )


# Sizes

LONG = "<&é🦙_" * 2000
MANY = [
    {"tag": f"section {i}", "effective": i / 300, "passed": True, "lift": 0.5, "kind": "prose"}
    for i in range(300)
]
SIZES = {
    "side by side": result(
        probe(),
        side_by_side=(msgspec.structs.replace(FORGOT, prompt=LONG, base=LONG, right=LONG),) * 3000,
    ),
    "3000 probes": result(*[probe(f"probe {i}", "fail") for i in range(3000)]),
    "long texts": result(
        *[probe(LONG, "fail", kind=LONG, message=LONG, advice=LONG, units=LONG)] * 100, spec=LONG
    ),
    "deep lists": result(
        *[
            probe(f"{i}", details={f"r{k}": [{LONG: LONG}] * 50 for k in range(50)})
            for i in range(30)
        ]
    ),
    "long notes": result(
        probe(), notes=(LONG,) * 500, findings=(msgspec.structs.replace(NEVER, message=LONG),) * 500
    ),
    "wide rows": result(probe(details={"rows": [{f"c{i}": LONG for i in range(300)}] * 30})),
}


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(
            made, id=name, marks=[pytest.mark.slow] * (name in ("deep lists", "wide rows"))
        )
        for name, made in SIZES.items()
    ],
)
def test_a_page_is_cut_to_its_largest_size(monkeypatch, made):
    monkeypatch.setattr(html_page, "available", lambda: False)
    page = html_page.render(made)
    assert len(page.encode()) <= html_page.MAX_BYTES
    assert "This page was shortened to 500 KB" in page or "and 2800 more in the JSON report" in page


@needs_viz
@pytest.mark.slow
def test_a_page_omits_pictures_that_do_not_fit():
    page = html_page.render(SIZES["3000 probes"])
    assert len(page.encode()) <= html_page.MAX_BYTES
    assert "pictures omitted to limit the size of this page" in page


def test_three_hundred_sections_fit():
    page = html_page.render(result(*[probe(str(i), details={"sections": MANY}) for i in range(3)]))
    assert page.count("section 299<") == 3
    assert "was shortened" not in page


# Pictures


@needs_viz
@by_result
def test_pictures_contain_no_untrusted_text(made):
    drawn = " ".join(text.text_content() for text in parsed(made).iter("text"))
    words = {
        "nulls",
        "adapter",
        "logarithmic",
        "scale",
        "variance",
        "of",
        "the",
        "z",
        "λ",
        "distance",
        "nats",
        "per",
    }
    words |= {
        "token",
        "tokens",
        "text",
        "context",
        "before",
        "prompt",
        "divergence",
        "its",
        "control",
        "prose",
    }
    assert set(re.findall(r"[^\W\d_]+", drawn)) <= words | {"σ", "e"}


@needs_viz
@pytest.mark.parametrize("n", [1, 3, 8, 64, 256])
def test_every_null_is_a_point(n):
    values = tuple(0.01 + 0.0001 * (i * 37 % 91) for i in range(n))
    (picture,) = figures.figures(probe(null_values=values, n_null=n))
    assert picture.svg.count("fill: var(--null)") == n
    assert picture.alt.startswith(f"The adapter at 0.183; {n} null adapter")


@needs_viz
def test_small_numbers_keep_their_digits():
    (picture,) = figures.figures(probe(raw=0.04, ci_95=None, null_values=(0.002, 0.003, 0.004)))
    assert ">0.01<" in picture.svg


LIMITS = {
    "of the value": (
        {"rules": (rule("mean", "pass", value=0.183, limit=0.001),)},
        ["The adapter at 0.183; 8 null adapters between 0.009 and 0.016; the limit is 0.001."],
    ),
    "of another quantity": (
        {"rules": (rule("gain", "fail", value=0.2, limit=0.5, bound=0.3),), "null_values": ()},
        ["The adapter at 0.2, the limit at 0.5."],
    ),
    "of a significance": (
        {"null_values": ()},
        [],
    ),
    "that is too large": (
        {"rules": (rule("gain", "fail", value=0.2, limit=1e300),), "null_values": ()},
        [],
    ),
}


@needs_viz
@pytest.mark.parametrize(("fields", "described"), LIMITS.values(), ids=LIMITS)
def test_the_limit_is_drawn(fields, described):
    drawn = figures.figures(probe(**fields))
    assert [picture.alt for picture in drawn] == described
    assert all("stroke-dasharray" in picture.svg for picture in drawn)
    assert all("var(--fail-bg)" in picture.svg for picture in drawn)


@needs_viz
def test_a_negligible_value_is_drawn_at_zero():
    tiny = probe(
        raw=1e-8,
        ci_95=None,
        null_values=(2e-9,),
        rules=(rule("mean", "fail", value=1e-8, limit=0.001),),
    )
    (picture,) = figures.figures(tiny)
    own, null = re.findall(r'<use[^>]*x="([\d.]+)"[^>]*var\(--(?:own|null)\)', picture.svg)[:2]
    assert abs(float(own) - float(null)) < 1


@needs_viz
def test_a_curve_is_drawn_and_described():
    _, curve = figures.figures(probe("adapter_ablation", details=dict(CURVE)))
    assert curve.svg.count("<use") >= 6
    assert curve.alt == (
        "Change of the output by scale: 0 at 0, 0.102 at 0.25, 0.211 at 0.5, 0.304 at 0.75, "
        "0.372 at 1, 0.409 at 1.25."
    )


ODD = {
    "not a number": {"raw": math.nan},
    "no value": {"raw": None},
    "nulls that are none": {"null_values": (math.nan, math.inf)},
    "a huge value": {"raw": 1e300},
    "curves of other things": {
        "null_values": (),
        "details": {"lambdas": {}, "curve": 1, "target": [1]},
    },
    "curves of text": {"null_values": (), "details": {"lambdas": ["a", "b"], "curve": ["c", "d"]}},
    "ranks of text": {"null_values": (), "z_by_rank": {"a": 1.0, "nan": 2.0, "-1": 3.0}},
}


@needs_viz
def test_a_picture_does_not_argue_against_a_failure():
    rules = (rule("shape", "fail", text="the curve jumps"), rule("z", "pass", value=9.0, limit=3.0))
    failed = probe("adapter_ablation", "fail", details=dict(CURVE), rules=rules)
    assert [one.caption for one in figures.figures(failed)] == ["Change of the output by scale"]
    insignificant = (rule("z", "fail", value=0.1, limit=3.0),)
    (nulls,) = figures.figures(probe(verdict="fail", rules=insignificant))
    assert nulls.caption.startswith("Among 8 null adapters")


@needs_viz
@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_invalid_numbers_are_not_drawn(fields):
    assert figures.figures(probe(**fields)) == []


@needs_viz
@pytest.mark.parametrize(
    "values", [(0.0,) * 8, (5e-324, 1.0), (-1e11, 1e11), (1e-12, 2e-12)], ids=str
)
def test_extremes_are_drawn(values):
    (picture,) = figures.figures(probe(raw=values[-1], ci_95=None, null_values=values))
    assert not re.search(r"\b(nan|inf)\b", picture.svg)


@needs_viz
def test_pictures_leave_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.figures(probe())
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_the_page_has_only_tables(monkeypatch):
    monkeypatch.setattr(html_page, "available", lambda: False)
    page = parsed(sick())
    assert list(page.iter("svg")) == []
    assert "pip install 'sway-gate[viz]'" in page.text_content()


def test_dots_that_touch_are_stacked():
    assert figures._rows([0.0, 1.0, 2.0, 20.0, 21.0]) == [0, 1, 2, 0, 1]


# Parts

BARS = {
    "all above zero": ([1.0, 0.5], [(0, 100, 0), (0, 50, 0)]),
    "on both sides": ([3.0, -1.0], [(25, 75, 25), (0, 25, 25)]),
    "with a gap": ([None, 2.0], [(0, 0, 0), (0, 100, 0)]),
    "negligible": ([0.01], [(0, 1, 0)]),
    "nothing": ([0.0], [(0, 0, 0)]),
}


@pytest.mark.parametrize(("values", "drawn"), BARS.values(), ids=BARS)
def test_bars(values, drawn):
    assert [tuple(bar) for bar in tables.bars(values, 1.0)] == drawn


OVERLAPS = {
    "all": ("a b c d e", "a b c d e", ("", "a b c d e", "")),
    "in the middle": ("x a b c d y", "q a b c d r", ("x ", "a b c d", " y")),
    "too little": ("a b c x", "a b c y", ("a b c x", "", "")),
    "nothing": ("", "a", ("", "", "")),
    "other spaces": ("a\nb  c d", " a b c d ", ("", "a\nb  c d", "")),
}


@pytest.mark.parametrize(("written", "true", "parts"), OVERLAPS.values(), ids=OVERLAPS)
def test_overlap(written, true, parts):
    assert tables.overlap(written, true) == parts


# Notebooks


def test_a_notebook_shows_the_page_in_a_frame():
    made = RESULTS["hostile"]
    shown = NotebookResult.of(made)._repr_html_()
    (frame,) = document_fromstring(f"<body>{shown}</body>").iter("iframe")
    assert frame.get("sandbox") == ""
    assert frame.get("srcdoc").split() == rendered(made).split()
    assert stdlib_html.escape(clean(made.verdict.upper())) in shown.rpartition('report">')[2]
