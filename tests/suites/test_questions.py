import pytest

from sway_gate.suites.questions import is_open, is_request

ASKED = [
    "What is the capital of France?",
    "Who was Ada Lovelace",
    "Write a haiku about the sea",
    "Explain how a lock works.",
    "Please summarize the text below.\n\nThe text.",
    "Is it raining?",
    "What colour is the sky",
    "How to mend a net",
    "Wer war Ada Lovelace?",
    "  How do I get there?  ",
]
CONTINUED = [
    "The key insight is",
    "The capital of France is",
    "An important rule",
    "Tell me more about",
    "What is more, the",
    "Question: Who feeds the ravens?\nAnswer:",
    "Is",
    "When the last stone is wet, she blows",
    "When it is cold, people",
    "Where the river bends, they",
    "Are the roads that lead there open",
    "When the last stone is wet, she blows the",
    "",
    "!",
]


@pytest.mark.parametrize("prompt", ASKED)
def test_questions_and_instructions_are_requests(prompt: str) -> None:
    assert is_request(prompt)


OPEN = {
    "The key is": True,
    "Answer:": True,
    "and then...": True,
    "It was the": True,
    "Explain what it is.": False,
    "my login fails": False,
    "Hi": False,
    "": False,
}


@pytest.mark.parametrize(("prompt", "is_it"), OPEN.items(), ids=repr)
def test_prompts_that_break_off_are_open(prompt: str, is_it: bool) -> None:
    assert is_open(prompt) is is_it


@pytest.mark.parametrize("prompt", CONTINUED)
def test_text_to_continue_is_not_a_request(prompt: str) -> None:
    assert not is_request(prompt)
