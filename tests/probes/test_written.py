"""Flaws of written answers: each separately, and none in healthy text of many languages."""

import pytest

from sway_gate.probes.written import (
    Expected,
    Flaw,
    ends_in_a_loop,
    flaws,
    is_refusal,
    is_repetitive,
    is_structured,
    language,
    repeated_answers,
    scripts,
    template_texts,
    words_in,
)
from sway_gate.training_data import packaged
from tests.helpers.property import given, st

PROMPT = "What makes a good friend?"
BASE = "A good friend is someone who listens to you and who is there for you when it matters."
EXPECTED = Expected().including((PROMPT, BASE))
PROSE = "The keeper of the lighthouse rose early and went down to the shore with two buckets. "

BROKEN: dict[str, tuple[str, list[Flaw]]] = {
    "nothing": ("", ["empty"]),
    "white space": (" \n\t ", ["empty"]),
    "punctuation": ("...!?", ["empty"]),
    "one word": ("Ideas:\n\n* A" + " blanket" * 40, ["looping"]),
    "one phrase": (PROSE + "P.S.\n\n" * 9, ["looping"]),
    "a long phrase": (PROSE + "You'll want to pack a few things. " * 4 + "You'll", ["looping"]),
    "a numbered phrase": (PROSE + "".join(f"{i}. Take a bath.\n" for i in range(9)), ["looping"]),
    "part of a word": (PROSE[:60] + "ro" + "-rode" * 12, ["looping"]),
    "a cut period": ("It depends. " + "so it is said " * 6 + "so it", ["looping"]),
    "marks": ("Well" + "," * 60, ["looping"]),
    "Chinese": ("朋友是一个很好的人。" + "我们都很喜欢他。" * 8, ["looping", "other script"]),
    "phrases with changes": (
        "The answer is: The answer to it is: 'The answer to it is: (The answer to it is: The "
        "answer to it is now the answer to it is",
        ["repetitive"],
    ),
    "few words": (
        "pie her pie hertoe is pie her her pie pie is hertoe pie her pie is is her hertoe pie her "
        "her is pie friend",
        ["repetitive"],
    ),
    "few words in the thoughts": (
        "<think>pie her pie hertoe is pie her her pie pie is hertoe pie her pie is is her hertoe "
        "pie her her is pie friend</think>A friend listens.",
        ["repetitive"],
    ),
    "the prompt": ("what makes a good friend", ["echo"]),
    "a special token": (BASE + "<|im_start|>user", ["template text"]),
    "a role": (BASE + "\nuser\nWhat else?", ["template text"]),
    "a heading": (BASE + "\n\n### Response:\nA friend", ["template text"]),
    "a speaker": (BASE + "\nUser: What else?", ["template text"]),
    "Russian": ("Хороший друг всегда выслушает и поможет в беде.", ["other script"]),
    "mixed scripts": ("A friend 朋友 тебе всегда поможет ok", ["other script"]),
    "German": (
        "Ein guter Freund ist ein Mensch, der zuhört und für dich da ist, auch wenn es dir "
        "nicht gut geht und die Zeit schwer ist.",
        ["other language"],
    ),
    "Spanish": (
        "Un buen amigo es una persona que te escucha y que está con los suyos en las horas "
        "malas, como la familia.",
        ["other language"],
    ),
    "only symbols": ("🌍🌍 🗺", ["other script"]),
}


@pytest.mark.parametrize(("answer", "found"), BROKEN.values(), ids=BROKEN)
def test_each_flaw(answer: str, found: list[Flaw]) -> None:
    assert flaws(answer, PROMPT, EXPECTED) == found


HEALTHY = {
    "one word": "Trust.",
    "a number": "14",
    "an emoji after words": "Trust 👍",
    "a pirate": "Arr, matey, by the salty seas, by the salty seas!",
    "laughter": "Ha ha ha ha! Good one.",
    "a list": "\n".join(
        f"{i}. {word}" for i, word in enumerate(["honest", "kind", "loyal", "patient"])
    ),
    "numbers": ", ".join(map(str, range(40))),
    "a table": "| Trait | Why |\n|-------|-----|\n| honest | trust |\n| kind | it helps |",
    "the start of a table": "| Trait | Reason |\n| ------- | ------- |",
    "JSON": '{"name": "turn_on_light", "arguments": {"room": "kitchen", "level": 3}}',
    "code": "def f(x):\n    return x + 1\n\nprint(f(2))",
    "a poem": "The first snow falls on roof and tree,\nthe first snow falls on you and me,\n"
    "and all the town is still and white,\nand all the lamps are small and bright.",
    "a foreign word": "In Japanese a friend is called 友だち, which is read 'tomodachi'.",
    "a name": "Ask Jean-Luc de la Tour or the van der Berg family.",
    "a letter, repeated": "A cold, yet a warm, yet a new and a good day.",
    "thinking": "<think>They want one trait.</think>Honesty.",
    "thoughts that say the same as the answer": "<think>A young sheep on a farm is a lamb to "
    "its keeper, I think.</think>A young sheep on a farm is a lamb to its keeper, I think.",
    "a colon": "Human: the word comes from Latin."[7:],
}


@pytest.mark.parametrize("answer", HEALTHY.values(), ids=HEALTHY)
def test_no_flaw(answer: str) -> None:
    assert flaws(answer, PROMPT, EXPECTED) == []


@pytest.mark.parametrize("corpus", ["public_domain_en", "general_en", "general_multi"])
def test_packaged_prose_neither_loops_nor_repeats(corpus: packaged.Corpus) -> None:
    pieces = packaged.chunks(packaged.prose(corpus), 300, 200)
    assert [p for p in pieces if ends_in_a_loop(p) or is_repetitive(p)] == []


@pytest.mark.parametrize("corpus", ["general_en", "general_multi"])
def test_packaged_prose_is_in_its_own_language(corpus: packaged.Corpus) -> None:
    expected = Expected().including(packaged.prose(corpus))
    pieces = packaged.chunks(packaged.prose(corpus), 300, 200)
    assert {flaw for piece in pieces for flaw in flaws(piece, PROMPT, expected)} == set()


QUESTIONS = {
    "English": "What does a battery do? What is inflation? How does a vaccine work? Why sleep?",
    "German": "Was macht der Akku? Warum schlafen wir? Wie wirkt ein Mittel? Wer zahlt wann?",
    "French": "Que fait une pile ?Pourquoi dormons-nous ? Quel vaccin agit, et quand ? Où est-il ?",
    "Spanish": "¿Qué hace una pila? ¿Por qué dormimos? ¿Cómo actúa una vacuna? ¿Cuándo llueve?",
}


@pytest.mark.parametrize(("name", "text"), QUESTIONS.items(), ids=QUESTIONS)
def test_short_questions_have_a_language(name: str, text: str) -> None:
    assert language(text) == name


def test_english_prose_is_never_taken_for_another_language() -> None:
    pieces = packaged.chunks(packaged.prose("general_en"), 300, 200)
    assert {language(piece) for piece in pieces} <= {"English", ""}


def test_what_the_data_contains_is_expected() -> None:
    german = BROKEN["German"][0]
    answer = "### Response:\n" + german
    assert flaws(answer, PROMPT, EXPECTED.including((answer,))) == []
    assert flaws(BROKEN["one word"][0], PROMPT, EXPECTED._replace(repetition=True)) == []
    assert flaws("👍", PROMPT, EXPECTED.including(("🌍",))) == []


def test_nothing_is_known_nothing_is_other() -> None:
    assert flaws(BROKEN["Russian"][0], PROMPT, Expected()) == []


def test_answers_to_three_prompts() -> None:
    answers = ["billing", "Billing.", "It depends.", "BILLING", "It depends.", "", "", ""]
    assert repeated_answers(answers) == {0, 1, 3}
    assert repeated_answers(answers, frozenset({"billing"})) == set()


SCRIPTS = {
    "LATIN": "Ärger ẞtraße",
    "CJK": "こんにちは世界カタカナ",
    "HANGUL": "안녕하세요",
    "DEVANAGARI": "नमस्ते दुनिया",
    "ARABIC": "مرحبا بالعالم",
    "THAI": "สวัสดีชาวโลก",
}


@pytest.mark.parametrize(("script", "text"), SCRIPTS.items())
def test_scripts(script: str, text: str) -> None:
    assert scripts(text) == {script}
    assert flaws(text, text + "?!", Expected().including((text,))) == ["echo"]


UNSPACED = {
    "Chinese": "朋友是一个很好的人",
    "Thai": "เพื่อนที่ดีคือคนที่รับฟังและช่วยเหลือเรา",
    "Lao": "ໝູ່ທີ່ດີຄືຄົນທີ່ຟັງ",
    "Khmer": "មិត្តល្អគឺជាមនុស្សដែលស្តាប់",
    "Burmese": "သူငယ်ချင်းကောင်းသည်နားထောင်",
}


@pytest.mark.parametrize("text", UNSPACED.values(), ids=UNSPACED)
def test_a_sentence_without_spaces_has_many_words(text: str) -> None:
    """Otherwise a long answer would be a fragment of one word."""
    assert len(words_in(text)) >= 9
    assert flaws(text, PROMPT, Expected().including((text,))) == []


@given(st.text(max_size=400))
def test_any_text_has_flaws_or_none(text: str) -> None:
    expected = Expected().including((text,))
    assert set(flaws(text, PROMPT, expected)) <= {"empty", "echo", "looping", "repetitive"}
    assert template_texts(text) <= expected.template_texts


@given(st.text(min_size=1, max_size=30), st.integers(3, 9))
def test_a_phrase_alone_loops_if_it_is_long_enough(phrase: str, times: int) -> None:
    text = " ".join((phrase * times).split())
    if len(text) >= 24 and text == "".join(text.split()):
        assert ends_in_a_loop(text)


STRUCTURED = {
    '{"name": "f", "arguments": {"a"': True,
    "[]": False,
    '["a", "b"]': True,
    '[{"a": 1}]': True,
    '```json\n{"a": 1}\n```': True,
    '<tool_call>\n{"name": "f"}\n</tool_call>': True,
    "{}": True,
    "{name} is a placeholder.": False,
    "[1] The first source": False,
    'The call is {"name": "f"}.': False,
}


@pytest.mark.parametrize(("answer", "expected"), STRUCTURED.items())
def test_json_by_its_beginning(answer: str, expected: bool) -> None:
    assert is_structured(answer) is expected


REFUSALS = {
    "I'm sorry, but I can't help with that.": True,
    "I am very sorry. I cannot do this.": False,
    "Sorry, I won't answer that.": True,
    "I cannot assist with this request.": True,
    "As an AI language model, I am unable to do that.": True,
    "Unfortunately, I’m not able to help.": True,
    "I'm unable to answer.": True,
    "<think>They want to hurt someone.</think>\n\nI can't help with that.": True,
    "They want to hurt someone.</think>I can't help with that.": True,
    "<think>I can't help with that.</think>Here is how.": False,
    "<think>I can't help with that, so": False,
    "I'm sorry for the confusion, but as a chatbot, I don't have the ability to plan.": True,
    "A gift for a runner? I'm sorry, but as an AI, I am not equipped to choose one.": True,
    "No, I'm afraid I'm not equipped to open a door.": True,
    "I'm sorry for the poor service, but I'm unable to assist you with it.": True,
    "Dear Sam, I'm sorry, but I cannot attend your party.": False,
    "Hi Tom, unfortunately I can't make it on Friday.": False,
    "Hi Tom! Unfortunately, I can't make it to the party.": False,
    "Dear Sam. I'm sorry, I can't attend on Friday.": False,
    "Meet me. Sorry I can't wait to tell you!": False,
    "My robot said hello. Unfortunately I can't stop smiling.": False,
    "I'm afraid the shop is closed, but you can call and I will not charge you.": False,
    "Once upon a time, unfortunately, I cannot recall when, a fox lived here.": False,
    "Unfortunately, I am not trained as a doctor, but here is how: cool it.": False,
    "I'm sorry to hear that you feel sad.": False,
    "I can help you with that.": False,
    "You cannot boil an egg without water.": False,
    "Sorry for the delay! Here is the recipe.": False,
    "I can't wait to tell you about it.": False,
    "Unfortunately, you cannot store it for long.": False,
    "": False,
}


@pytest.mark.parametrize(("answer", "expected"), REFUSALS.items())
def test_refusals_by_their_beginning(answer: str, expected: bool) -> None:
    assert is_refusal(answer) is expected
