"""The HTML report in a real browser: on a phone and a desk, in light and dark, and on paper."""

import pytest

from sway_gate.reports.html import page as html_page
from sway_gate.reports.json_v1 import from_json
from sway_gate.results import Finding, ModelFacts
from tests.helpers import DATA, browser
from tests.helpers.results import healthy, hostile, probe, result, sick, undecided

BROWSER = browser.executable()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not BROWSER, reason=f"NO BROWSER: none of {', '.join(browser.NAMES)} is on the PATH"
    ),
]

NEVER = Finding(
    id="never-trained",
    level="verdict",
    message="lora_B is all zero",
    path="a/" * 99,
    remedy="train it",
)
MANY = [
    {"tag": f"section {i}", "effective": (i - 50) / 300, "passed": i % 3 > 0, "lift": 0.5}
    for i in range(300)
]
RESULTS = {
    "all kinds": from_json((DATA / "all_kinds.json").read_bytes()),
    "healthy": healthy(),
    "sick": sick(),
    "undecided": undecided(),
    "hostile": hostile(),
    "the files alone": result(
        verdict="fail", exit_code=1, score=0.0, findings=(NEVER,), nulls=None, device=""
    ),
    "long names": result(
        probe("name_" * 60),
        probe("X" * 300),
        adapter=ModelFacts(path="/long" * 99, digest="0" * 64),
    ),
    "300 sections": result(probe(details={"sections": MANY})),
}

OPEN_ALL = "document.querySelectorAll('details').forEach(fold => { fold.open = true })"
OVERFLOW = """(() => {
    const root = document.documentElement
    if (root.scrollWidth <= root.clientWidth) return []
    return [...document.body.querySelectorAll('*')]
        .filter(one => one.getBoundingClientRect().right > root.clientWidth)
        .filter(one => !one.closest('.scroll'))
        .map(one => one.outerHTML.slice(0, 100))
})()"""
# WCAG 2.2, relative luminance and contrast ratio: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
PALE_TEXT = """(() => {
    const channels = color => color.match(/[\\d.]+/g).map(Number)
    const luminance = color => channels(color).slice(0, 3)
        .map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
    const opaque = color => (channels(color)[3] ?? 1) === 1
    const behind = one => {
        for (; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor
            if (opaque(color)) return color
        }
        return 'rgb(255, 255, 255)'
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    const pale = []
    let seen = 0
    while (walker.nextNode()) {
        const text = walker.currentNode.data.trim(), one = walker.currentNode.parentElement
        if (!text || !one.checkVisibility()) continue
        const style = getComputedStyle(one)
        const ink = one.closest('svg') ? style.fill : style.color
        const [a, b] = [luminance(ink), luminance(behind(one))]
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
        seen += 1
        if (!(ratio >= 4.5)) pale.push([text.slice(0, 40), ratio, ink, behind(one)])
    }
    return seen ? pale : ['no text']
})()"""
HIDDEN = """[...document.querySelectorAll('details:not([open]) :is(table, .passage)')]
    .filter(one => one.getBoundingClientRect().height === 0).length"""
TOO_WIDE = """[...document.querySelectorAll('td, th')]
    .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(one => one.textContent.slice(0, 40))"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.opened(BROWSER, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, made in RESULTS.items():
        (folder / f"{name}.html").write_text(html_page.render(made), encoding="utf-8")
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", RESULTS)
def test_a_page_on_a_screen(page, files, name, width, scheme):
    page.open(files / f"{name}.html", width, scheme=scheme)
    page.evaluate(OPEN_ALL)
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    assert page.evaluate("innerWidth") == width
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate(PALE_TEXT) == []
    assert page.complaints == []


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_on_paper(page, files, name):
    page.open(
        files / f"{name}.html", 690, scheme="dark", media="print"
    )  # the width of A4 less its margins
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(HIDDEN) == 0
    assert page.evaluate(PALE_TEXT) == []
    assert page.evaluate(TOO_WIDE) == []


def test_the_checks_see_what_is_wrong(page, tmp_path):
    path = tmp_path / "bad.html"
    wide = "<p style='width: 3000px'>wide</p><p style='color: #aaa'>pale</p>"
    path.write_text(
        f"<!doctype html>{wide}<script>no_such_name</script><img src='http://localhost:1/x.png'>",
        "utf-8",
    )
    page.open(path, 390)
    assert len(page.evaluate(OVERFLOW)) > 0
    assert [text for text, *_ in page.evaluate(PALE_TEXT)] == ["pale"]
    assert len(page.complaints) >= 2


VISIBLE = "[...document.querySelectorAll('article.probe')].filter(one => !one.hidden).length"
COPY = """(() => {
    navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() }
    document.querySelector('.exchange .copy').click()
    return window.copied
})()"""


def test_the_filter_shows_what_failed(page, files):
    page.open(files / "sick.html", 1280)
    assert page.evaluate(VISIBLE) == 6
    page.evaluate("document.querySelector('[data-show=failed]').click()")
    assert page.evaluate(VISIBLE) == 1
    assert page.evaluate("document.querySelector('[data-show=failed]').ariaPressed") == "true"
    page.evaluate("document.querySelector('[data-show=all]').click()")
    assert page.evaluate(VISIBLE) == 6
    assert page.complaints == []


def test_an_answer_is_copied(page, files):
    page.open(files / "sick.html", 1280)
    assert page.evaluate(COPY) == "spoon"


def test_probes_that_passed_are_folded(page, files):
    page.open(files / "sick.html", 1280)
    folds = "[...document.querySelectorAll('article.probe')].map(one => [one.className, one"
    opened = dict(page.evaluate(folds + ".querySelector('.fold').open])"))
    assert opened == {
        "probe pass": False,
        "probe fail": True,
        "probe warn": True,
        "probe skip": True,
    }
