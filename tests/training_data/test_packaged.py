"""The packaged texts have the sizes, the spread and the encoding that the probes count on."""

import json
from importlib.resources import files

import pytest

from sway_gate.training_data import packaged
from tests.helpers.property import given, st

NAMES = (
    "knowledge.jsonl",
    "public_domain_en.txt",
    "general_en.txt",
    "general_multi.txt",
    "prompts.txt",
    "chat_prompts.jsonl",
    "chat_prompts_multi.jsonl",
    "refusals.jsonl",
    "stuffing.txt",
    "PROVENANCE.md",
)
TEXTS = st.lists(st.text(alphabet="ab.!?\"' \n\té", max_size=60), max_size=5)
SIZES = st.integers(1, 20)
ONE_LINE_OF_EACH_REGISTER = {
    "dialogue": "You take delight in vexing me.",
    "treatise": "the total Reflexion begins",
    "law": "To establish Post Offices and post Roads;",
    "first-person narration": "No, when I go to sea, I go as a simple sailor",
    "essay": "Books are the treasured wealth of the world",
    "instructions": "sheets should be turned",
    "travel": "the Straits of Gibraltar",
    "history": "On the 19th of August the army started for Monterey",
    "letter": "Be not alarmed, madam, on receiving this letter",
    "lecture": "This is a wonderful thing about a candle.",
    "state paper": "We hold these truths to be self-evident",
    "third-person narration": "the long hill into Lyme",
    "speech": "shall not perish from this earth",
}


def raw(name):
    return files(packaged).joinpath(name).read_bytes()


def items():
    return [json.loads(line) for line in raw("knowledge.jsonl").decode().splitlines()]


def squeezed(text):
    return "".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_file_is_clean_utf8_with_one_final_newline(name):
    text = raw(name).decode("utf-8")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(char == "\n" or char.isprintable() for char in text.replace("\r\n", "\n"))
    assert "\ufffd" not in text


def test_knowledge_has_the_promised_count_without_doubles():
    pairs = packaged.knowledge()
    assert len(pairs) >= 160
    assert len({prompt.casefold() for prompt, _ in pairs}) == len(pairs)


def faults(prompt, gold, topic, **_):
    """What is wrong with an item of the knowledge file."""
    if not topic:
        yield "no topic"
    if (prompt, gold) != (prompt.strip(), " " + gold.strip()):
        yield "not joined by one space"
    if len(prompt.split()) not in range(3, 16) or len(gold.split()) not in range(1, 7):
        yield "too short or too long"


def test_knowledge_items_are_short_and_join_prompt_and_gold_by_one_space():
    found = [(item["prompt"], fault) for item in items() for fault in faults(**item)]
    assert not found, found


def test_every_leading_run_of_knowledge_is_a_fair_sample():
    topics = [item["topic"] for item in items()]
    kinds = len(set(topics))
    assert kinds >= 12
    assert all(len(set(topics[i : i + kinds])) == kinds for i in range(0, len(topics), kinds))


def test_prose_is_forty_to_sixty_kilobytes_in_passages():
    assert 40_000 <= len(raw("public_domain_en.txt")) <= 60_000
    lengths = [len(passage) for passage in packaged.prose()]
    assert sum(4_000 <= length <= 6_000 for length in lengths) >= 10
    assert min(lengths) > 1_000


@pytest.mark.parametrize("line", ONE_LINE_OF_EACH_REGISTER.values(), ids=ONE_LINE_OF_EACH_REGISTER)
def test_prose_covers_the_register_in_exactly_one_passage(line):
    assert sum(line in passage for passage in packaged.prose()) == 1


def test_provenance_has_a_row_for_each_passage():
    rows = [line for line in raw("PROVENANCE.md").decode().splitlines() if line[2:3].isdigit()]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(packaged.prose()) + 1))


def test_prose_has_unwrapped_distinct_paragraphs_and_nothing_of_the_digitiser():
    paragraphs = [paragraph for passage in packaged.prose() for paragraph in passage.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any("\n" in paragraph or "  " in paragraph for paragraph in paragraphs)
    assert not any(
        word in " ".join(paragraphs).casefold() for word in ("gutenberg", "ebook", "[", "_", "%%")
    )


def test_prompts_are_sixteen_short_distinct_openings():
    prompts = packaged.prompts()
    assert len(prompts) == len(set(prompts)) == 16
    assert all(3 <= len(prompt.split()) <= 8 and prompt == prompt.strip() for prompt in prompts)
    assert len({prompt.split()[0] for prompt in prompts[:6]}) == 6


def test_stuffing_is_about_twelve_kilobytes_without_a_repeated_sentence():
    sentences = packaged.stuffing().replace("\n\n", " ").split(". ")
    assert 10_000 <= len(packaged.stuffing()) <= 14_000
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize(
    "accessor",
    [
        packaged.choices,
        packaged.knowledge,
        packaged.prose,
        packaged.prompts,
        packaged.chat_prompts,
        packaged.refusals,
        packaged.stuffing,
    ],
)
def test_accessor_reads_its_file_once(accessor):
    assert accessor() is accessor()


@given(TEXTS, SIZES, SIZES)
def test_chunks_are_bounded_substrings(passages, chars, limit):
    pieces = packaged.chunks(passages, chars, limit)
    assert len(pieces) <= limit
    assert all(1 <= len(piece) <= chars and piece == piece.strip() for piece in pieces)
    assert all(any(piece in passage for passage in passages) for piece in pieces)


@given(st.text(alphabet="ab.!? \n", max_size=200), SIZES)
def test_chunks_lose_nothing_but_white_space(passage, chars):
    assert squeezed("".join(packaged.chunks([passage], chars, 1_000))) == squeezed(passage)


@pytest.mark.parametrize(
    ("passages", "chars", "limit", "expected"),
    [
        pytest.param(["One. Two. Three."], 9, 9, ("One. Two.", "Three."), id="sentence end"),
        pytest.param(
            ['He said "no." Then'], 14, 9, ('He said "no."', "Then"), id="closing quote stays"
        ),
        pytest.param(
            ["A. long words here"],
            14,
            9,
            ("A. long words", "here"),
            id="early sentence end passed over",
        ),
        pytest.param(
            ["version 1.5 of it"], 13, 9, ("version 1.5", "of it"), id="point inside a number"
        ),
        pytest.param(["abcdefg"], 3, 9, ("abc", "def", "g"), id="no white space"),
        pytest.param(["a b c", "d e"], 1, 9, ("a", "d", "b", "e", "c"), id="round robin"),
        pytest.param(["a b c", "d e"], 1, 2, ("a", "d"), id="limit spans passages"),
        pytest.param(["", " \n", "a"], 5, 9, ("a",), id="empty passages"),
        pytest.param([], 5, 9, (), id="nothing"),
    ],
)
def test_chunks_cut(passages, chars, limit, expected):
    assert packaged.chunks(passages, chars, limit) == expected


def test_a_small_limit_still_covers_every_passage():
    pieces = packaged.chunks(packaged.prose(), 400, len(packaged.prose()))
    assert all(
        passage.startswith(piece) for passage, piece in zip(packaged.prose(), pieces, strict=True)
    )


@pytest.mark.parametrize(("chars", "limit"), [(0, 1), (1, 0), (-5, 3)])
def test_chunks_refuse_sizes_below_one(chars, limit):
    with pytest.raises(ValueError, match=f"chars={chars} and limit={limit}"):
        packaged.chunks(["text"], chars, limit)
