"""Is a prompt a question or an instruction, which a chat model meets inside its template, or text to be continued?

The judgement is by form alone: how the prompt ends and with which word it begins.
"""

import re
from typing import Final

# Opening words of instructions.
_IMPERATIVES: Final = frozenset({
    "analyse", "analyze", "answer", "calculate", "classify", "compare", "complete", "compose", "compute",
    "continue", "convert", "create", "define", "describe", "discuss", "draft", "explain", "find", "generate",
    "give", "help", "identify", "implement", "list", "make", "name", "paraphrase", "please", "propose",
    "provide", "recommend", "rephrase", "rewrite", "show", "solve", "suggest", "summarise", "summarize", "tell",
    "translate", "write",
})  # fmt: skip
# Question words, for a question without its mark, and how many words behind them its verb may stand: "What colour is",
# but "When it is cold, people".
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
    "are", "can", "could", "did", "do", "does", "had", "has", "have", "is", "many", "much", "should", "to",
    "was", "were", "will", "would",
})  # fmt: skip
# A text that ends in one of these goes on.
_OPEN_END: Final = frozenset({
    "a", "about", "after", "an", "and", "are", "as", "at", "be", "been", "before", "between", "but", "by",
    "can", "could", "for", "from", "had", "has", "have", "her", "his", "in", "into", "is", "its", "may",
    "might", "must", "my", "nor", "of", "on", "or", "our", "over", "should", "so", "than", "that", "the",
    "their", "these", "this", "those", "to", "under", "was", "were", "which", "who", "whose", "will", "with",
    "would", "your",
})  # fmt: skip
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def is_open(prompt: str) -> bool:
    """Whether the prompt breaks off and waits to be continued."""
    text = prompt.strip()
    words = _WORD.findall(text)
    if text.endswith((":", ",", ";", "-", "(", "...", "…")):
        return True
    return bool(words) and words[-1].lower() in _OPEN_END and not text.endswith((".", "!"))


def is_request(prompt: str) -> bool:
    """Whether the prompt asks for an answer. "Question: … Answer:" and the like already say how they go on."""
    text = prompt.strip()
    if text.endswith(("?", "\N{FULLWIDTH QUESTION MARK}")):
        return True
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < 2 or is_open(prompt):
        return False
    reach = _QUESTIONS.get(words[0], 0)
    return words[0] in _IMPERATIVES or any(word in _VERBS for word in words[1 : 1 + reach])
