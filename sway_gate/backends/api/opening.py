"""Opens the two models that a spec names on one server or on two."""

from pathlib import Path
from typing import Any

from sway_gate.backends.api.backend import ApiBackend
from sway_gate.backends.api.client import KEY, Client, key_for
from sway_gate.backends.api.completions import ServedModel, Support
from sway_gate.backends.api.texts import PlainTexts, Texts
from sway_gate.errors import CannotDecide
from sway_gate.model_files.config import context_tokens
from sway_gate.spec.endpoints import api_root
from sway_gate.spec.schema import ModelRef

_SAMPLE = "The capital of France is"


def open_api(
    base: ModelRef, ft: ModelRef, tokenizer: Path | None, *, has_template: bool
) -> ApiBackend:
    """The backend. `tokenizer`: the folder of both models' tokenizer, if it is known.

    Raises UsageError or CannotDecide.
    """
    models = _model(base), _model(ft)
    label = models[0].label
    texts: Texts
    if tokenizer is None:
        support = _common(*(model.support() for model in models))
        texts = PlainTexts(label)
    else:
        loaded = _tokenizer(tokenizer)
        from sway_gate.backends.api.tokenized_texts import TokenizedTexts

        sample = loaded(_SAMPLE)["input_ids"]
        support = _common(*(model.support(sample) for model in models))
        encoder = _encoder(loaded, context_tokens(tokenizer))
        texts = TokenizedTexts(loaded, encoder, takes_ids=support.takes_ids)
    if base.endpoint != ft.endpoint and not support.scores_prompts:
        support = support._replace(top=0)  # nothing shows that both write tokens in one way
    names = " and ".join(dict.fromkeys(model.label for model in models))
    return ApiBackend(models, support, texts, (f"measured on {names}",), has_template=has_template)


def _model(ref: ModelRef) -> ServedModel:
    root = api_root(ref.endpoint or "")
    return ServedModel(Client(root, root, key_for(root, ref.api_key_env or KEY)), ref.base)


def _common(a: Support, b: Support) -> Support:
    """What both servers give."""
    return Support(
        min(a.top, b.top), a.scores_prompts and b.scores_prompts, a.takes_ids and b.takes_ids
    )


def _tokenizer(folder: Path) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise CannotDecide(f"{error}; install the extra: pip install 'sway-gate[hf]'") from None
    from sway_gate.backends.base import keep_template_file, require_length, tokenizer_fault

    try:
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        raise CannotDecide(f"the tokenizer {folder} {tokenizer_fault(folder, error)}") from None
    require_length(tokenizer, f"the tokenizer {folder}")
    keep_template_file(tokenizer, folder)
    return tokenizer


def _encoder(tokenizer: Any, context: int | None) -> Any:
    from sway_gate.backends.passes.encoding import Encoder
    from sway_gate.backends.passes.rendering import ends

    limit = context or min(int(tokenizer.model_max_length), 2**20)
    return Encoder(tokenizer, limit, len(tokenizer), ends(None, tokenizer))
