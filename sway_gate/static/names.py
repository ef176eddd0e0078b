"""Names of tensors with the prefixes of wrappers and trainers, which peft cannot match."""

import re

from sway_gate.results import Finding
from sway_gate.static.findings import broken, quote
from sway_gate.static.weights import Weights

PREFIX = "base_model.model."
_WRAPPERS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
}
_LORA = re.compile(r"\.lora_(?:embedding_)?(?:A|B|magnitude_vector)\b")
_NAMED = re.compile(
    rf"(?P<part>{_LORA.pattern})\.(?P<adapter>(?!weight$|bias$)\w+)(?P<end>\.(?:weight|bias))?$"
)
_DEFAULT = "default"
"""Name of an adapter, which peft also accepts in the names of saved tensors."""


def with_plain_names(weights: Weights) -> tuple[Weights, list[Finding]]:
    """The weights with the names that peft expects, and a finding if it cannot read the old ones.

    The other checks use the plain names.
    """
    plain = {name: plain_name(name) for name in weights.tensors}
    tensors = {plain[name]: tensor for name, tensor in weights.tensors.items()}
    wrong = [name for name in plain if _without_default(name) != plain[name]]
    if not wrong:
        return weights._replace(tensors=tensors), []
    causes = sorted({cause for name in wrong for cause in _causes(name)})
    message = f"the names of {len(wrong)} tensors do not fit peft: {'; '.join(causes)}"
    remedy = (
        "save the unwrapped model with save_pretrained(), or rename the tensors, "
        f"as {quote(wrong[0])} to {quote(plain[wrong[0]])}"
    )
    return weights._replace(tensors=tensors), [broken("key-prefix", weights.path, message, remedy)]


def plain_name(name: str) -> str:
    """The name as peft saves it."""
    name = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    name = re.sub(rf"^((?:{re.escape(PREFIX)})*)module\.", r"\1", name)
    if _LORA.search(name):
        name = PREFIX + re.sub(rf"^(?:{re.escape(PREFIX)})+", "", name)
        name = _NAMED.sub(r"\g<part>\g<end>", name)
    return name


def _without_default(name: str) -> str:
    match = _NAMED.search(name)
    return _NAMED.sub(r"\g<part>\g<end>", name) if match and match["adapter"] == _DEFAULT else name


def _causes(name: str) -> list[str]:
    """Each part of the name that differs from the plain name, with where it comes from."""
    parts = name.split(".")
    found = [f"'{part}.' of {_WRAPPERS[part]}" for part in _WRAPPERS if part in parts]
    if "module" in (parts[0], *parts[2:3]):
        found.append("'module.' of a parallel wrapper")
    if name.count(PREFIX) > 1:
        found.append(f"'{PREFIX}' twice")
    elif PREFIX not in name:
        found.append(f"'{PREFIX}' is missing")
    if (match := _NAMED.search(name)) and match["adapter"] != _DEFAULT:
        found.append(f"the adapter's name {quote(match['adapter'])}")
    return found
