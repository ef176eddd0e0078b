"""Prose is plain technical English: no phrase of the project's former private dialect.

The rules are in CONTRIBUTING.md, section "Writing". The test lists offenders as `file:line: phrase -> better wording`.
`python -m tests.docs.test_language` prints the number of hits per phrase and per folder.
"""

import ast
import io
import re
import tokenize
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.helpers import ROOT

# (regular expression, better wording, reason). A space also matches a line break. Lower-case patterns ignore case.
BANNED = [
    # Availability and existence
    (
        r"(?:to|could|can|cannot|might|would) be had",
        "is available, is found",
        "an idiom where one verb is enough",
    ),
    (
        r"(?<!\bthere )(?<!\bthis )\b(?:is|are|was|were) no (?!longer\b|more\b|such\b|one\b)",
        "is not a",
        "negate the verb, not the noun",
    ),
    (
        r"\b(?:that|which|it|they|what|this) (?:is|are) none\b",
        "is not a NOUN",
        "`none` hides its noun",
    ),
    (r"\bgives? no numbers?\b", "produces NaN or Inf, returns no value", "name the values"),
    (
        r"\b(?:is|are|was|were) (?:not )?here\b",
        "is (not) on this machine",
        "`here` does not say where",
    ),
    (
        r"\bthere already\b|\bis not there\b",
        "already exists, does not exist",
        "`there` does not say where",
    ),
    # Conditions
    (
        r"(?:\b(?:none|empty|off|skipped|[01]|nan|invalid|false|true|raises [\w, ]+?)|\"\"),? where\b"
        r"|\bwhere (?:it|they|there|that|this|one|some|nothing|any|both|none)"
        r" (?:is|are|has|have|does|do|can|cannot|could|was|were|did)\b(?![.,;):]| and\b)",
        "if, when",
        "`where` is for locations, `if` for conditions",
    ),
    (
        r"[,;:] (?:or )?else (?!echo\b|if\b|\w+=)",
        "otherwise; defaults to",
        "`else` is a keyword, not an adverb",
    ),
    (r"\bwhatever\b", "any, regardless of, all", "name the set that is meant"),
    (
        r"\b(?:however|whichever|wherever)\b(?!,)",
        "regardless of how/which/where",
        "vague relative clause",
    ),
    (r"\bbut for\b", "except, except for", "archaic"),
    (
        r"\bas (?:it|they) must be\b",
        "as expected",
        "says neither what was expected nor what happened",
    ),
    # Reporting
    (r"\btold\b", "reported, stated, distinguished", "a program reports; `told` is for people"),
    (r"\btells\b", "reports, states, shows", "a program reports; `tells` is for people"),
    (
        r"(?<!cannot )(?<!can )\btell\b(?! (?:[\w*`]+ ){1,6}(?:from|apart)\b| the time\b)",
        "report, state, show",
        "a program reports; `tell` is for people",
    ),
    (r"(?<!\")\bsaid\b", "stated, reported, specified", "a program reports; `said` is for people"),
    (r"\bsays? nothing\b", "does not show, is not informative about", "name what is unknown"),
    (r"\bnot proven\b", "cannot verify that", "say what sway-gate could not check"),
    # Requests and requirements
    (r"\basked for\b", "required, requested", "does not say who requires what"),
    (r"\basks for\b", "requires, requests", "does not say whether it is required"),
    (
        r"\basked the same\b|\b(?:who|unless) asked\b|\b(?:what was|it is|it was|less is|none is) asked\b(?! for)",
        "requested, required; have the same inputs",
        "standard terms: request, requirement, input",
    ),
    (
        r"\b(?:is|are|was|were) to be\b",
        "must be, will be, should be",
        "ambiguous: a requirement or a plan",
    ),
    (r"\bmay not (?!exist)", "must not, cannot, might not", "ambiguous: a ban or a possibility"),
    (r"\bhangs? on\b", "depends on", "an idiom where one verb is enough"),
    # Contents and position
    (
        r"\bholds? (?:an?|no|none|the|it|them|some|more|two|one|nothing|what|all)\b(?! lock)",
        "contains",
        "`hold` also means `be true`, `keep` and `support`",
    ),
    (r"\bheld (?:to|by|against)\b", "checked by, compared with", "standard verbs: check, compare"),
    (
        r"\bbeside\b",
        "next to, with, in addition to, compared with",
        "five meanings in this code base; name one",
    ),
    (r"\bin (?:the )?place of\b", "instead of, replaces", "longer than `instead of`"),
    (
        r"\bputs? (?:against|beside|side by side|together)\b",
        "compared with, combined",
        "standard verbs",
    ),
    (r"\bin front\b(?! matter)", "before, prepended, prefix", "token sequences have a prefix"),
    (
        r"\bbehind\b(?! (?:a|the) proxy)",
        "after, appended; underlying",
        "token sequences have before and after",
    ),
    (
        r"\bstands? (?:above|before|after|among|around|between|below|higher|at)\b",
        "is, precedes, follows, exceeds",
        "text and numbers do not stand",
    ),
    (
        r"\blies? (?:there|elsewhere|in the way|too deep|about)\b|\blie of\b|\blying headers?\b"
        r"|\bwhere(?:ver)? (?:[\w`]+ ){1,4}lies?\b",
        "is located in, is stored in; inconsistent",
        "`lie` also means `not tell the truth`",
    ),
    (r"(?<!decimal )\bplaces\b", "positions, locations, files", "standard term: token position"),
    (r"\bdoubles\b", "duplicates", "standard term"),
    # Noun phrases
    (
        r"(?<!than )\b(?:that|those) of\b",
        "repeat the noun, or use a possessive",
        "the reader must look back",
    ),
    (
        r"\b(?:of|in|for|with|by|from) what (?:is|are|was|were)\b",
        "name the thing",
        "`what` hides the noun",
    ),
    (r"\b(?:what|all) else\b", "other NOUNs, everything else", "`what` hides the noun"),
    (
        r"\bof (?:its|their|your|our) own\b",
        "its own NOUN, a separate NOUN",
        "possessive after its noun",
    ),
    (
        r"\bso (?:many|much|few|often)\b(?! (?:that|as)\b)",
        "n, this many, at most n",
        "give the number or its name",
    ),
    (
        r"\b(?:one|once|twice|line|row|event|example|prompt|comment|entry|bytes|test|marks|sequence|predicate|request"
        r"|case|column|command|file|text|report|word|breaks) an? (?:line|token|probe|view|spec|adapter|kind|mistake"
        r"|position|word|section|pass|time|second|layer|base|file|row|event|column|run|case|prompt|table)\b",
        "one per line, per probe",
        "the distributive `a` is misread as an article",
    ),
    (r"(?<!-)\balone\b", "only", "`only` stands before what it limits and is shorter"),
    (
        r"\bthe least\b(?! squares)|\bleast (?:composite|and)\b",
        "the minimum, the smallest",
        "standard term",
    ),
    (r"^Of\b(?! course)", "begin with the noun: `Number of …`", "a fragment without its head"),
    (r"^As `|[.;] As `", "Like `NAME`, but …", "`as` also means `while` and `because`"),
    (r"(?<!so )\bas to\b", "about, like, to", "two prepositions for one"),
    # Terms of the field
    (r"\bbeyond (?:noise|reason)\b", "significant(ly); implausible", "statistics' term"),
    (r"\bby heart\b", "memorized, verbatim", "the field's term is memorization"),
    (r"\bdrawn? out\b", "extracted", "the field's term is extraction"),
    (
        r"\bserves? (?:its|their) text\b|\btext served\b|\bserves? no more\b|\bserved one\b",
        "has the lowest loss on its text; is invalid; runs one",
        "`serve` means deployment in this field",
    ),
    (
        r"\b(?:reads?|rides?) (?:along|off)\b",
        "teacher-forced along; is computed from",
        "standard terms",
    ),
    (r"\b(?:an? eye on|the watch for)\b", "observer, monitor, check for", "metaphor"),
    (r"\bstrangers?\b", "untrusted source", "security's term"),
    (r"\b(?:nobody|anybody|somebody)\b", "no one; untrusted; a user", "name the party"),
    (r"\ba person\b", "you, the user, the reader", "documentation addresses its reader"),
    (
        r"(?<!length )(?<!length, )\bin words\b",
        "as text, described",
        "`in words` is also a unit here",
    ),
    (
        r"\bsound (?:one|spec|revision|folders?|adapter)\b|\bsoundly\b|\bnot sound\b",
        "valid, correct",
        "standard term",
    ),
    (r"\balike\b", "uniform, equal, identically distributed", "standard terms"),
    (r"\bnearer\b", "closer", "plain word"),
    (r"\banew\b", "again, re-VERB", "archaic"),
    (
        r"\b(?:gravest|rightly so|the very|merit)\b",
        "most severe, first; otherwise omit",
        "flourish",
    ),
    (r"\blook(?:s|ed)? (?:whether|whose)\b", "checks whether", "standard verb"),
    (r"\b(?:is|are|was|were) taken for\b", "is treated as", "`take for` also means to mistake"),
    (r"\bgo(?:es)? on\b", "continues", "plain word"),
    (r"\bspelled out\b", "escaped; written in full", "standard term: escape"),
    (r"\bof (?:a|that|the same|all) sorts?\b|\btwo sorts\b", "kind, type", "standard term"),
    (r"\bfailed not\b|\bhas no more\b", "did not fail; no longer has", "inverted negation"),
]
PHRASES = [(re.compile(pattern), better) for pattern, better, _ in BANNED]

# Files whose prose counts. Python: docstrings, comments and, outside the tests, strings.
PYTHON = ("sway_gate", "tests", "benchmarks", "tools", "examples")
OTHERS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/**/*.md",
    "benchmarks/results/*.md",
    "examples/**/*.md",
)
OTHERS += (
    "action.yml",
    ".pre-commit-hooks.yaml",
    "examples/**/*.y*ml",
    ".github/**/*.yml",
    "sway_gate/**/*.j2",
)
OTHERS += ("Dockerfile", "Makefile", "pyproject.toml", ".ci/*")
# Files whose strings are data, not messages: training text, prompts, word tables. Their comments and docstrings count.
DATA = {
    "microworld.py",
    "make_demo.py",
    "speed.py",
    "_perturbations.py",
    "perturbations.py",
    "paraphrases.py",
}
GENERATED = "<!-- made by tools/docs.py"  # from docstrings, which are checked themselves
PAIRS = re.compile(r"<!-- before and after -->.*?<!-- /before and after -->", re.DOTALL)


class Hit(NamedTuple):
    file: str
    line: int
    phrase: str
    better: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.phrase} -> {self.better}"


Lines = list[tuple[int, str]]


def of_python(source: str, *, texts: bool) -> Iterator[Lines]:
    """Numbered lines of each docstring, block of comments and, with `texts`, other string with a space."""
    block: Lines = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != block[-1][0] + 1:
                yield block
                block = []
            block.append((token.start[0], token.string.lstrip("#")))
    yield block
    nodes = list(ast.walk(ast.parse(source)))
    formatted = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in formatted for part in ast.walk(node)}
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in formatted if texts else []:
        pieces = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        yield [(node.lineno, "".join(pieces))]
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            is_text = texts and " " in node.value.strip()
            if is_text or id(node) in prose:
                yield numbered(node.value, node.lineno, node.end_lineno)


def numbered(text: str, first: int, last: int) -> Lines:
    """Lines of `text` with their numbers, or all as line `first` if they are not lines of the source."""
    lines = text.split("\n")
    step = int(last - first == len(lines) - 1)
    return [(first + step * i, line) for i, line in enumerate(lines)]


def hits_in(file: str, lines: Lines) -> Iterator[Hit]:
    """All banned phrases in one piece of prose, also across line breaks within a paragraph."""
    joined, starts, numbers = "", [], []
    for number, line in lines:
        cleaned = " ".join(line.strip().lstrip("#").split())
        starts.append(len(joined))
        numbers.append(number)
        joined += f"{cleaned} " if cleaned else "\n"
    joined = joined.rstrip()
    lowered = joined.lower()
    for pattern, better in PHRASES:
        for match in pattern.finditer(lowered if pattern.pattern.islower() else joined):
            phrase = joined[match.start() : match.end()].strip()
            yield Hit(
                file,
                numbers[bisect_right(starts, match.start()) - 1],
                phrase,
                better,
                pattern.pattern,
            )


def prose() -> Iterator[tuple[str, Lines]]:
    """File and numbered lines of every piece of prose in the repository."""
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for lines in of_python(
                path.read_text("utf-8"), texts=folder != "tests" and path.name not in DATA
            ):
                yield name, lines
    for path in sorted(
        {path for pattern in OTHERS for path in ROOT.glob(pattern) if path.is_file()}
    ):
        text = path.read_text("utf-8")
        if not text.startswith(GENERATED):
            text = PAIRS.sub(lambda match: "\n" * match[0].count("\n"), text)
            yield path.relative_to(ROOT).as_posix(), list(enumerate(text.split("\n"), 1))


def all_hits() -> list[Hit]:
    return sorted({hit for file, lines in prose() for hit in hits_in(file, lines)})


def test_prose_is_plain_english():
    offenders = [str(hit) for hit in all_hits()]
    assert not offenders, f"{len(offenders)} phrases to reword:\n" + "\n".join(offenders)


def test_each_phrase_is_found_in_text_and_across_lines():
    lines = [(7, "The model"), (8, "    # is not to be"), (9, "    # had; see below.")]
    assert [(hit.line, hit.phrase) for hit in hits_in("a.py", lines)] == [(8, "to be had")]


def test_identifiers_and_code_do_not_count():
    source = 'told = tells(beside)  # plain\n"""A value that was told."""\nx = f"is told {told} by"\ny = "told"\n'
    found = [
        (hit.line, hit.phrase)
        for lines in of_python(source, texts=True)
        for hit in hits_in("a.py", lines)
    ]
    assert sorted(found) == [(2, "told"), (3, "told")]


def main() -> None:
    """Print the number of hits per phrase, per folder and per file of the package."""
    hits = all_hits()
    counts = Counter(hit.pattern for hit in hits)
    for pattern, better, _ in BANNED:
        print(f"{counts[pattern]:5}  {pattern[:70]}  ->  {better}")
    for depth in (1, 2, 3):
        folders = Counter("/".join(hit.file.split("/")[:depth]) for hit in hits)
        print(f"\ndepth {depth}")
        for name, count in folders.most_common():
            print(f"{count:5}  {name}")


if __name__ == "__main__":
    main()
