"""Tell questions and instructions from text to continue, by the end and the first words only.

`paraphrases` uses this for English prompts. It never decides how a prompt is measured.
"""

import re
from typing import Final

# Opening words of instructions.
_IMPERATIVES: Final = frozenset({
    "analyse", "analyze", "answer", "calculate", "classify", "compare", "complete", "compose",
    "compute", "continue", "convert", "create", "define", "describe", "discuss", "draft",
    "explain", "find", "generate", "give", "help", "identify", "implement", "list", "make",
    "name", "paraphrase", "please", "propose", "provide", "recommend", "rephrase", "rewrite",
    "show", "solve", "suggest", "summarise", "summarize", "tell", "translate", "write",
})  # fmt: skip
# Question words and the maximum distance of the verb, for questions without a question mark:
# "What colour is", but not "When it is cold, people".
_QUESTIONS: Final = {
    "what": 2,
    "which": 2,
    "how": 2,
    "who": 1,
    "whom": 1,
    "whose": 2,
    "where": 1,
    "when": 1,
    "why": 1,
}
_VERBS: Final = frozenset({
    "are", "can", "could", "did", "do", "does", "had", "has", "have", "is", "many", "much",
    "should", "to", "was", "were", "will", "would",
})  # fmt: skip
# A text that ends in one of these is incomplete.
_OPEN_END: Final = frozenset({
    "a", "about", "after", "an", "and", "are", "as", "at", "be", "been", "before", "between",
    "but", "by", "can", "could", "for", "from", "had", "has", "have", "her", "his", "in",
    "into", "is", "its", "may", "might", "must", "my", "nor", "of", "on", "or", "our", "over",
    "should", "so", "than", "that", "the", "their", "these", "this", "those", "to", "under",
    "was", "were", "which", "who", "whose", "will", "with", "would", "your",
})  # fmt: skip
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def is_open(prompt: str) -> bool:
    """Whether the prompt is incomplete text."""
    text = prompt.strip()
    words = _WORD.findall(text)
    if text.endswith((":", ",", ";", "-", "(", "...", "…")):
        return True
    return bool(words) and words[-1].lower() in _OPEN_END and not text.endswith((".", "!"))


def is_request(prompt: str) -> bool:
    """Whether the prompt is a question or an instruction.

    "Question: … Answer:" and similar forms are text to continue.
    """
    text = prompt.strip()
    if text.endswith(("?", "\N{FULLWIDTH QUESTION MARK}")):
        return True
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < 2 or is_open(prompt):
        return False
    reach = _QUESTIONS.get(words[0], 0)
    return words[0] in _IMPERATIVES or any(word in _VERBS for word in words[1 : 1 + reach])
