"""The prose written for the project is long, varied and not contained in the other texts."""

import re
from importlib.resources import files
from itertools import groupby

import pytest

from sway_gate.training_data import packaged

LATIN = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
    "German": LATIN + "äöüß",
    "French": LATIN + "àâçéèêëîïôùûœ",
    "Spanish": LATIN + "áéíñóúü",
    "Portuguese": LATIN + "àáâãçéêíóôõú",
}
FREQUENT = {
    "German": {"der", "und", "nicht", "ein"},
    "French": {"les", "des", "une", "est"},
    "Spanish": {"el", "los", "una", "y"},
    "Portuguese": {"não", "uma", "os", "do"},
}
LANGUAGES = [*FREQUENT, "Chinese"]
CHINESE = re.compile("[\u4e00-\u9fff]")
RUN = 7
"""Two texts share a passage if they share as many successive words."""


def words(text):
    return re.findall(r"\w+", text.casefold())


def letters(text):
    return {char for char in text.casefold() if char.isalpha()}


def runs(text):
    found = words(text)
    return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}


def language(passage):
    if CHINESE.search(passage):
        return "Chinese"
    return max(FREQUENT, key=lambda name: sum(word in FREQUENT[name] for word in words(passage)))


def size(corpus):
    return len(files(packaged).joinpath(f"{corpus}.txt").read_bytes())


BY_LANGUAGE = {
    name: list(passages) for name, passages in groupby(packaged.prose("general_multi"), language)
}


def test_prose_is_public_domain_by_default():
    assert packaged.prose() == packaged.prose("public_domain_en")


def test_english_has_twenty_registers_in_at_least_42_kilobytes():
    passages = packaged.prose("general_en")
    assert 43_008 <= size("general_en") <= 60_000
    assert len(passages) >= 20
    assert all(1_900 <= len(passage) <= 2_500 for passage in passages)


def test_english_is_ascii():
    assert all(passage.isascii() for passage in packaged.prose("general_en"))


def test_passages_of_a_language_follow_one_another():
    assert [name for name, _ in groupby(packaged.prose("general_multi"), language)] == LANGUAGES


@pytest.mark.parametrize("name", LANGUAGES)
def test_language_has_five_registers_in_six_to_eight_kilobytes(name):
    assert len(BY_LANGUAGE[name]) >= 5
    assert 6_000 <= sum(len(passage.encode()) for passage in BY_LANGUAGE[name]) <= 8_000


@pytest.mark.parametrize("name", FREQUENT)
def test_passage_has_only_letters_of_its_language(name):
    foreign = {char for text in BY_LANGUAGE[name] for char in letters(text) - {*ALPHABETS[name]}}
    assert foreign == set()


def test_chinese_has_no_letters_of_another_script():
    text = "".join(BY_LANGUAGE["Chinese"])
    assert [char for char in letters(text) if not CHINESE.match(char)] == []


@pytest.mark.parametrize("corpus", ["general_en", "general_multi"])
def test_paragraphs_are_distinct_and_unwrapped(corpus):
    paragraphs = [text for passage in packaged.prose(corpus) for text in passage.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)
    assert not any("\n" in text or "  " in text or text != text.strip() for text in paragraphs)
    assert not any(mark in "".join(paragraphs) for mark in ("%%", "[", "_", "#"))


def test_passages_share_no_run_of_words_with_each_other_or_with_other_texts():
    others = [*packaged.prose(), packaged.stuffing()]
    texts = [*packaged.prose("general_en"), *packaged.prose("general_multi"), *others]
    found = [run for text in texts[: -len(others)] for run in runs(text)]
    shared = set(found) & set().union(*map(runs, others))
    assert len(found) == len(set(found))
    assert shared == set()


def test_a_quarter_of_the_longer_words_of_an_english_passage_are_in_no_other_passage():
    vocabulary = [
        {word for word in words(text) if len(word) > 4} for text in packaged.prose("general_en")
    ]
    for i, own in enumerate(vocabulary):
        others = set().union(*vocabulary[:i], *vocabulary[i + 1 :])
        assert len(own - others) >= len(own) / 4
