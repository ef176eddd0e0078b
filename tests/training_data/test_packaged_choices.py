"""Each item of general knowledge has false endings and a question that fit its sentence."""

import re

import pytest

from sway_gate.training_data import packaged

CHOICES = packaged.choices()
VOWELS = "aeiou"
FITS_ARTICLE = {
    "a": lambda ending: ending.strip()[0] not in VOWELS,
    "an": lambda ending: ending.strip()[0] in VOWELS,
}


def endings(choice):
    return (choice.gold, *choice.wrong)


def test_knowledge_has_the_same_sentences_in_the_same_order():
    assert packaged.knowledge() == tuple((choice.prompt, choice.gold) for choice in CHOICES)
    assert len(CHOICES) == 195


def test_each_item_has_four_different_endings():
    assert all(len({ending.casefold() for ending in endings(choice)}) == 4 for choice in CHOICES)


def test_no_ending_contains_another_ending_of_the_item():
    found = [
        (choice.prompt, one, other)
        for choice in CHOICES
        for one in endings(choice)
        for other in endings(choice)
        if one != other and f"{one} ".casefold() in f"{other} ".casefold()
    ]
    assert not found, found


def faults(ending, gold):
    """The faults of a false ending."""
    if ending != " " + ending.strip() or "  " in ending:
        yield "not joined by one space"
    if abs(len(ending.split()) - len(gold.split())) > 2:
        yield "number of words"
    if not 0.3 <= len(ending) / len(gold) <= 3:
        yield "length"
    if ending.strip()[0].isdigit() != gold.strip()[0].isdigit():
        yield "number or word"


def test_false_endings_have_the_form_of_the_true_one():
    found = [
        (choice.prompt, ending, fault)
        for choice in CHOICES
        for ending in choice.wrong
        for fault in faults(ending, choice.gold)
    ]
    assert not found, found


def test_false_endings_are_as_long_as_the_true_ones_on_average():
    gold = sum(len(choice.gold) for choice in CHOICES) / len(CHOICES)
    wrong = sum(len(ending) for choice in CHOICES for ending in choice.wrong) / (3 * len(CHOICES))
    assert wrong == pytest.approx(gold, rel=0.1)


def test_endings_fit_the_article_before_them():
    with_article = [choice for choice in CHOICES if choice.prompt.split()[-1] in FITS_ARTICLE]
    found = [
        (choice.prompt, ending)
        for choice in with_article
        for ending in endings(choice)
        if not FITS_ARTICLE[choice.prompt.split()[-1]](ending)
    ]
    assert len(with_article) > 20
    assert not found, found


def test_questions_are_different_questions():
    questions = [choice.question for choice in CHOICES]
    assert len(set(questions)) == len(questions)
    assert all(re.fullmatch(r"[A-Z].{10,90}\?", question) for question in questions)


def test_no_question_contains_its_answer():
    found = [
        choice.question
        for choice in CHOICES
        if re.search(rf"\b{re.escape(choice.gold.strip())}\b", choice.question, re.IGNORECASE)
    ]
    assert not found, found


@pytest.mark.parametrize(
    ("prompt", "wrong", "question"),
    [
        pytest.param(
            "The capital city of Italy is called",
            (" Paris", " Milan", " Madrid"),
            "What is the capital city of Italy?",
            id="first",
        ),
        pytest.param(
            "A story that is made up by its author is called",
            (" biography", " history", " journalism"),
            "What is a story that is made up by its author called?",
            id="last",
        ),
    ],
)
def test_choice_is_read_from_the_file(prompt, wrong, question):
    choice = next(choice for choice in CHOICES if choice.prompt == prompt)
    assert (choice.wrong, choice.question) == (wrong, question)
