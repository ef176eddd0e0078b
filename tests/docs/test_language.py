"""Messages, docstrings, comments and pages contain no banned phrase.

The rules are in CONTRIBUTING.md, section "Writing". The test lists each hit as
`file:line: phrase -> better wording`. `python -m tests.docs.test_language` prints the number of
hits per phrase and per folder.
"""

import ast
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.helpers import ROOT

UNIT = (
    "(?:line|token|probe|view|spec|adapter|kind|mistake|position|word|section|pass|time|second"
    "|layer|base|file|row|event|column|run|case|prompt|table)"
)
# (regular expression, better wording, reason). A space also matches a line break. A pattern without
# upper-case letters ignores case.
BANNED = [
    # Availability and existence
    (
        r"(?:to|could|can|cannot|might|would) be had",
        "is available, is found",
        "an idiom where one verb is enough",
    ),
    (
        r"(?<!\bthere )(?<!\bthis )\b(?:is|are|was|were) no"
        r" (?!longer\b|more\b|less\b|such\b|one\b|different\b|\w+er than\b)",
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
        r"(?:\b(?:none|empty|off|skipped|[01]|nan|invalid|false|true|raises [\w, ]+?)|\"\"),?"
        r" where\b"
        r"|\bwhere (?:it|they|there|that|this|one|some|nothing|any|both|none)"
        r" (?:is|are|has|have|does|do|can|cannot|could|was|were|did)\b"
        r"(?![.,;):]| and\b| (?:stored|located|defined|used|found|written|saved)\b)",
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
        r"\basked the same\b|\b(?:who|unless) asked\b"
        r"|\b(?:what was|it is|it was|less is|none is) asked\b(?! for)",
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
    (r"\bheld (?:to|against)\b", "checked by, compared with", "standard verbs: check, compare"),
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
        r"\bbehind\b(?! (?:a|the) (?:proxy|firewall|flag)\b)",
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
    (r"\bdoubles\b(?! (?:the|its|in|with)\b)", "duplicates", "standard term"),
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
        rf"\b(?:one|line|row|event|example|prompt|comment|entry|bytes|test|marks|sequence|predicate"
        rf"|request|case|column|command|file|text|report|word|breaks) an? {UNIT}\b"
        rf"|\b(?:once|twice) an? {UNIT}\b(?=[.,;:)]|$)",
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
    (r"\b(?:to|for|by) a person\b", "you, the user, the reader", "address the reader"),
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
    (r"\bgo(?:es)? on\b(?! (?:an?|the|its|one)\b)", "continues", "plain word"),
    (r"\bspelled out\b", "escaped; written in full", "standard term: escape"),
    (r"\bof (?:a|that|the same|all) sorts?\b|\btwo sorts\b", "kind, type", "standard term"),
    (
        r"\bfailed not\b|\bhas no more\b(?! than)",
        "did not fail; no longer has",
        "inverted negation",
    ),
]
PHRASES = [(re.compile(pattern), better) for pattern, better, _ in BANNED]
WITH_CASE = [pattern for pattern, _, _ in BANNED if not pattern.islower()]
WITHOUT_CASE = [pattern for pattern, _, _ in BANNED if pattern.islower()]
# Any of the phrases, to skip most of the prose quickly.
ANY_WITH_CASE = re.compile("|".join(f"(?:{pattern})" for pattern in WITH_CASE))
ANY_WITHOUT_CASE = re.compile("|".join(f"(?:{pattern})" for pattern in WITHOUT_CASE))

# Folders and files that are checked. In Python files these are docstrings and comments, and outside
# the tests also other strings.
PYTHON = ("sway_gate", "tests", "benchmarks", "tools", "examples")
OTHERS = (
    *("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"),
    *("docs/**/*.md", "benchmarks/results/*.md"),
    *("examples/**/*.md", "examples/**/*.y*ml", "action.yml", ".pre-commit-hooks.yaml"),
    *(".github/**/*.yml", "sway_gate/**/*.j2", "Dockerfile", "Makefile", "pyproject.toml", ".ci/*"),
)
# Files whose strings are data: training text, prompts, word tables. Only their docstrings and
# comments are checked.
DATA = {
    "microworld.py",
    "make_demo.py",
    "speed_inputs.py",
    "perturbations.py",
    "paraphrases.py",
}
GENERATED = "<!-- made by tools/docs.py"  # from docstrings, which are checked in the sources
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
"""Numbered lines of one piece of prose."""
# A string, or a comment in group 2. Faster than the tokenizer.
STRING_OR_COMMENT = re.compile(
    r"""(\"{3}|'{3})(?:\\.|[^\\])*?\1|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|#(.*?$)""",
    re.DOTALL | re.MULTILINE,
)


def comments(source: str) -> Iterator[Lines]:
    """Blocks of comments on adjacent lines."""
    block: Lines = []
    line, end = 1, 0
    for match in STRING_OR_COMMENT.finditer(source):
        line += source.count("\n", end, match.start())
        end = match.start()
        if match[2] is None:
            continue
        if block and line != block[-1][0] + 1:
            yield block
            block = []
        block.append((line, match[2]))
    yield block


def strings(source: str, *, messages: bool) -> Iterator[Lines]:
    """Docstrings and, with `messages`, other strings that contain a space."""
    docstrings, parts, constants = set(), set(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr):
            docstrings.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts.update(node.values)
            if messages:
                yield [(node.lineno, formatted(node))]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            constants.append(node)
    for node in constants:
        is_message = messages and " " in node.value.strip() and node not in parts
        if is_message or node in docstrings:
            yield numbered(node.value, node.lineno, node.end_lineno)


def formatted(node: ast.JoinedStr) -> str:
    """The text of an f-string with {} for each value."""
    pieces = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
    return "".join(pieces)


def numbered(text: str, first: int, last: int) -> Lines:
    """Lines of `text`, numbered from `first`; all have this number if the text has escapes."""
    lines = text.split("\n")
    step = int(last - first == len(lines) - 1)
    return [(first + step * i, line) for i, line in enumerate(lines)]


def hits_in(file: str, lines: Lines) -> Iterator[Hit]:
    """All banned phrases in one piece of prose, also across line breaks within a paragraph."""
    joined, starts = "", []
    for _, line in lines:
        starts.append(len(joined))
        cleaned = " ".join(line.strip().lstrip("#").split())
        joined += f"{cleaned} " if cleaned else "\n"
    joined = joined.rstrip()
    lowered = joined.lower()
    if not ANY_WITHOUT_CASE.search(lowered) and not ANY_WITH_CASE.search(joined):
        return
    for pattern, better in PHRASES:
        for match in pattern.finditer(lowered if pattern.pattern.islower() else joined):
            phrase = joined[match.start() : match.end()].strip()
            line, _ = lines[bisect_right(starts, match.start()) - 1]
            yield Hit(file, line, phrase, better, pattern.pattern)


def prose() -> Iterator[tuple[str, Lines]]:
    """File and numbered lines of every piece of prose in the repository."""
    for folder in PYTHON:
        for path in sorted((ROOT / folder).rglob("*.py")):
            source, name = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
            messages = folder != "tests" and path.name not in DATA
            for lines in (*comments(source), *strings(source, messages=messages)):
                yield name, lines
    for path in pages():
        text = path.read_text("utf-8")
        if not text.startswith(GENERATED):
            text = PAIRS.sub(lambda match: "\n" * match[0].count("\n"), text)
            yield path.relative_to(ROOT).as_posix(), list(enumerate(text.split("\n"), 1))


def pages() -> list[Path]:
    """Files other than Python."""
    found = {path for pattern in OTHERS for path in ROOT.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def all_hits() -> list[Hit]:
    return sorted({hit for file, lines in prose() for hit in hits_in(file, lines)})


def test_prose_is_plain_english():
    offenders = [str(hit) for hit in all_hits()]
    assert not offenders, f"{len(offenders)} phrases to reword:\n" + "\n".join(offenders)


def test_each_phrase_is_found_in_text_and_across_lines():
    lines = [(7, "The model"), (8, "    # is not to be"), (9, "    # had; see below.")]
    assert [(hit.line, hit.phrase) for hit in hits_in("a.py", lines)] == [(8, "to be had")]


def test_identifiers_and_code_do_not_count():
    source = """told = tells(beside)  # plain
"A value that was told."
x = f"is told {told} by"
y = "told"
"""
    pieces = [*comments(source), *strings(source, messages=True)]
    found = [(hit.line, hit.phrase) for lines in pieces for hit in hits_in("a.py", lines)]
    assert sorted(found) == [(2, "told"), (3, "told")]


def test_comments_are_found_outside_strings():
    source = """a = "# no"  # one
# two
b = 'it\\'s # no'
# four
"""
    assert list(comments(source)) == [[(1, " one"), (2, " two")], [(4, " four")]]


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
