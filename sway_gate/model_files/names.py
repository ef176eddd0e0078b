"""Names of base models: which hub ids name the same model in another format."""

import re
from typing import Final

_FORMAT: Final = re.compile(
    r"[-_.](?:unsloth|bnb|nf4|fp4|fp8|fp16|bf16|mxfp[48]|nvfp4|[2-8]-?bits?|int[48]|w[48]a(?:8|16)"
    r"|q[2-8](?:_[0-9a-z])*|gptq|awq|aqlm|hqq|eetq|exl[23]|gguf|mlx|dwq|dynamic|gemm|marlin"
    r"|quantized|g?128g?)$"
)
"""A word at the end of a name that states the format of the weights."""
_MIRRORS: Final = frozenset({"mlx-community", "nousresearch", "thebloke", "unsloth"})
"""Owners of copies of other owners' models, in lower case."""


def is_same_model(a: str, b: str) -> bool:
    """Whether two hub ids name one model because one of them is a repackaging of the other.

    unsloth/Llama-3.2-1B-bnb-4bit and meta-llama/Llama-3.2-1B are the same model.
    """
    if _origin(a) != _origin(b):
        return False
    return any(_unpacked(_name(ref)) != _name(ref) or _owner(ref) in _MIRRORS for ref in (a, b))


def _owner(ref: str) -> str:
    return ref.lower().rpartition("/")[0]


def _name(ref: str) -> str:
    return ref.lower().rpartition("/")[2]


def _unpacked(name: str) -> str:
    """The name without the words at its end that state a format."""
    while match := _FORMAT.search(name):
        name = name[: match.start()]
    return name


def _origin(ref: str) -> str:
    """The name of the model. Copies of Llama models also omit "Meta-" and "-hf"."""
    return _unpacked(_name(ref)).removeprefix("meta-").removesuffix("-hf")
