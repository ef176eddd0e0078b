"""Flaws of a written answer, from its text only: without a model or a judge.

No rule applies to a healthy answer: a wanted style, a short answer, a list, a table or
program code has no flaw.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

Flaw = Literal[
    "empty",
    "looping",
    "repetitive",
    "echo",
    "template text",
    "other script",
    "other language",
    "same answer",
    "refusal",
]

_PERIODS, _MIN_LOOP_CHARS, _MIN_LOOP_SHARE, _MIN_MARKS_SHARE = 3, 24, 0.25, 0.5
_NGRAM, _MIN_WORDS, _MIN_REPEATED_SHARE = 4, 16, 0.4
_WINDOW, _MAX_DISTINCT_SHARE = 20, 0.3
_MIN_OTHER_SCRIPTS, _MIN_SCRIPT_SHARE = 0.3, 0.1
_MIN_FUNCTION_WORDS, _TIMES_AS_MANY = 4, 2
_MIN_SAME = 3

_TEMPLATE_TEXT = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|\[/?INST\]|<</?SYS>>|</s>|<(?:start|end)_of_turn>"
    r"|^### ?(?:Instruction|Input|Response)\b"
    r"|^(?:user|assistant|system|human)$|^(?:User|Assistant|Human|AI): ",
    re.MULTILINE,
)
_CANNOT = (
    r"(?:can(?:not|['’]t)|won['’]t|will not|do(?: not|n['’]t) have the (?:ability|capability)"
    r"|(?:am |['’]m )?(?:unable|not (?:able|allowed|equipped)))\b"
)
_SERVE = (
    r"(?:to )?(?:help|assist|answer|provide|do|fulfill?|comply|support|create|give|share|discuss"
    r"|write|offer|respond|engage|continue|access|edit)\b"
)
# The speaker refuses, to do something for the reader: not "I can't wait", not "you cannot". A
# sentence can come before an apology: "A gift for a runner? I'm sorry, but as an AI, I cannot".
_SORRY = (
    r"(?:i(?:['’]| a)m (?:very |so |really )?(?:sorry|afraid)|sorry|i apologi[sz]e|unfortunately)\b"
)
_REFUSAL = re.compile(
    rf"\W*(?:(?:no, )?{_SORRY}[^.!?\n]{{0,30}}?\bi ?{_CANNOT}"
    rf"|(?:[^.!?\n]{{0,60}}[?!.] )?(?:(?:no|oh|well), )?{_SORRY}"
    rf"(?:[^.!?\n]{{0,50}}?\bbut as an? [^.!?\n]{{2,80}}, i ?{_CANNOT}"
    rf"|(?:[^.!?\n]{{0,50}}?\bbut)?[^.!?\n]{{0,30}}?\bi ?{_CANNOT} {_SERVE})"
    rf"|(?:as an? [^,.]{{2,40}}, )?i ?{_CANNOT} {_SERVE})",
    re.IGNORECASE,
)
# JSON may be in a code block or in a tag such as <tool_call>.
_STRUCTURED = re.compile(r"\s*(?:```\w*\s*|<\w+>\s*)?(?:\{\s*[\"}]|\[\s*[\"{\[])")
_FUNCTION_WORDS = {
    name: frozenset(words.split())
    for name, words in {
        "Dutch": "de het een en is van dat niet te op met voor zijn die er aan ook je wordt bij"
        " wat hoe waarom waar wanneer kan mijn ik",
        "English": "the of and is to that it with for you are this was have be as not from they"
        " what how why does which who when where can my your an",
        "French": "le la les et est des une un du dans que pour qui vous pas sur avec ce au sont"
        " pourquoi quoi où quand quel quelle peut mon je",
        "German": "der die das und ist nicht ein eine den mit von zu auf für sich dem es wird sie"
        " warum wer wann kann welche mein ich oder wenn",
        "Italian": "il lo gli la e è un una che di per con non si del della sono come più nel"
        " cosa perché chi dove quale mio anche",
        "Portuguese": "o a os as e é um uma que em para com por se do da não mais como você"
        " qual quem onde meu são isso",
        "Spanish": "el la los las y es un una que en para con por se del su más como está lo"
        " qué cómo cuál quién cuándo dónde puedo",
    }.items()
}
# A template may end the prompt with the opening tag.
_AFTER_THOUGHTS = re.compile(r"(.*)</think(?:ing)?>(.*)", re.DOTALL)
_UNSPACED = frozenset({"CJK", "THAI", "LAO", "KHMER", "MYANMAR"})
# Japanese mixes kana and Han. The others are Latin letters in other shapes.
_SAME_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FULLWIDTH": "LATIN", "MATHEMATICAL": "LATIN"}


class Expected(NamedTuple):
    """The scripts, languages and template texts that an answer may contain; may it repeat?"""

    scripts: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    template_texts: frozenset[str] = frozenset()
    repetition: bool = False

    def including(self, texts: Iterable[str]) -> "Expected":
        """Also those that occur in `texts`."""
        found = tuple(texts)
        return Expected(
            self.scripts.union(*map(scripts, found)),
            self.languages.union(filter(None, map(language, found))),
            self.template_texts.union(*map(template_texts, found)),
            self.repetition,
        )


def flaws(answer: str, prompt: str, expected: Expected) -> list[Flaw]:
    """The flaws of one answer, apart from those that need other answers; [] if it is healthy."""
    if is_empty(answer):
        return ["empty"]
    is_loop = ends_in_a_loop(answer)
    rules: dict[Flaw, bool] = {
        "looping": is_loop and not expected.repetition,
        "repetitive": not (is_loop or expected.repetition) and is_repetitive(answer),
        "echo": normal(answer) == normal(prompt),
        "template text": not template_texts(answer) <= expected.template_texts,
        "other script": is_in_other_script(answer, expected.scripts),
        "other language": is_in_other_language(answer, expected.languages),
    }
    return [flaw for flaw, applies in rules.items() if applies]


def is_empty(answer: str) -> bool:
    """Whether it contains neither a letter nor a digit nor a symbol, such as an emoji."""
    return not any(unicodedata.category(char)[0] in "LNS" for char in answer)


def is_structured(answer: str) -> bool:
    """Whether it begins as a JSON object or list; it may be cut."""
    return _STRUCTURED.match(answer) is not None


def is_refusal(answer: str) -> bool:
    """Whether it begins as a refusal in English, after its thoughts if it has some."""
    return _REFUSAL.match(_parts(answer)[-1]) is not None


def normal(text: str) -> str:
    """The words and numbers of a text in lower case, joined by spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def repeated_answers(answers: Sequence[str], allowed: frozenset[str] = frozenset()) -> set[int]:
    """The indices of answers that at least 3 different prompts get; words and numbers decide.

    Answers in `allowed`, as `normal` writes them, and empty ones do not count.
    """
    written = [normal(answer) for answer in answers]
    counts = Counter(written)
    return {
        i
        for i, text in enumerate(written)
        if text and text not in allowed and counts[text] >= _MIN_SAME
    }


# -------------------------------------------------------------------------------------- repetition


def ends_in_a_loop(answer: str) -> bool:
    """Whether the end is one phrase at least three times in a row (Holtzman et al. 2020).

    The repetitions cover at least 24 characters and a quarter of the text; numbers in them may
    change, as in a list. Of a phrase without letters, such as a line in a table, half of it.
    """
    text = " ".join(answer.split())
    loop = max((length for _, length in _loops(text)), default=0)
    if loop >= max(_MIN_LOOP_CHARS, _MIN_MARKS_SHARE * len(text)):
        return True
    text = re.sub(r"\d+", "0", text)
    worded = (length for phrase, length in _loops(text) if any(map(str.isalpha, phrase)))
    return max(worded, default=0) >= max(_MIN_LOOP_CHARS, _MIN_LOOP_SHARE * len(text))


def _loops(text: str) -> Iterator[tuple[str, int]]:
    """Each phrase that the text ends in at least three times, and the length of all of them."""
    for period in range(1, len(text) // _PERIODS + 1):
        length = period
        while length < len(text) and text[-1 - length] == text[period - 1 - length]:
            length += 1
        if length >= _PERIODS * period:
            yield text[-period:], length
        if length == len(text):
            return  # a longer phrase covers no more


def is_repetitive(answer: str) -> bool:
    """Whether the whole text repeats phrases, or a part of it consists of few words.

    - rep-4 = 1 - distinct 4-grams / 4-grams of words (Welleck et al. 2020) is at least .4, in at
      least 16 words. A text that is one phrase three times has .67, ordinary prose about .01.
    - distinct-1 (Li et al. 2016) of 20 words in a row is at most .3. Ordinary prose has .6 or more.

    Thoughts and the answer after them may say the same: each is judged apart.
    """
    return any(_repeats(words_in(part)) for part in _parts(answer))


def _parts(answer: str) -> list[str]:
    """The thoughts, if they end, and the answer after them."""
    found = _AFTER_THOUGHTS.fullmatch(answer)
    return list(found.groups()) if found else [answer]


def _repeats(words: Sequence[str]) -> bool:
    if len(words) < _MIN_WORDS:
        return False
    windows = (words[i : i + _WINDOW] for i in range(max(1, len(words) - _WINDOW + 1)))
    few = min(_distinct_share(window) for window in windows) <= _MAX_DISTINCT_SHARE
    ngrams = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return few or 1 - _distinct_share(ngrams) >= _MIN_REPEATED_SHARE


def _distinct_share(items: Sequence[object]) -> float:
    return len(set(items)) / len(items)


def words_in(text: str) -> list[str]:
    """Words in lower case without numbers; of scripts without spaces between words, characters."""
    spaced = (char if unicodedata.category(char)[0] in "LM" else " " for char in text.casefold())
    found: list[str] = []
    for word in "".join(spaced).split():
        found += list(word) if _script(word[0]) in _UNSPACED else [word]
    return found


# ----------------------------------------------------------------- templates, scripts and languages


def template_texts(text: str) -> frozenset[str]:
    """The parts of a prompt template, such as a special token or a role, that a text contains."""
    return frozenset(_TEMPLATE_TEXT.findall(text))


@cache
def _script(char: str) -> str:
    """The script of a letter by its Unicode name, such as LATIN; "" for other characters."""
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "").split()
    script = name[0].partition("-")[0] if name else ""
    return _SAME_SCRIPT.get(script, script)


def _script_shares(text: str) -> dict[str, float]:
    """The share of each script among the letters; a text of only symbols has the script SYMBOLS."""
    counts = Counter(filter(None, map(_script, text)))
    if not counts and not is_empty(text) and not any(map(str.isalnum, text)):
        return {"SYMBOLS": 1.0}
    return {script: n / counts.total() for script, n in counts.items()}


def scripts(text: str) -> frozenset[str]:
    """The scripts of at least 10% of the letters."""
    return frozenset(s for s, share in _script_shares(text).items() if share >= _MIN_SCRIPT_SHARE)


def is_in_other_script(answer: str, expected: frozenset[str]) -> bool:
    """Whether at least 30% of the letters are of other scripts than those expected, or it consists
    of symbols and none are expected."""
    other = sum(share for script, share in _script_shares(answer).items() if script not in expected)
    return bool(expected) and other >= _MIN_OTHER_SCRIPTS


def language(text: str) -> str:
    """One of seven European languages by its function words; "" if none is clear.

    It has at least 4 different ones and twice as many as any other language.
    """
    words = set(words_in(text))
    counts = {name: len(words & own) for name, own in _FUNCTION_WORDS.items()}
    (name, most), (_, second) = Counter(counts).most_common(2)
    return name if most >= max(_MIN_FUNCTION_WORDS, _TIMES_AS_MANY * second) else ""


def is_in_other_language(answer: str, expected: frozenset[str]) -> bool:
    """Whether the answer is clearly in a language other than those expected."""
    found = language(answer)
    return bool(found and expected) and found not in expected
