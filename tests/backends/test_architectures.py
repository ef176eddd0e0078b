"""Every causal architecture of transformers, compared with peft's own forward pass and texts."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import ParamWrapper
from torch import nn

from sway_gate.backends import hf, loading, null_adapters, plain_lora
from sway_gate.backends.base import EncodedRequest, NotStackable
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import LowRank
from sway_gate.errors import AdapterError, CannotDecide
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Divergence,
    Generation,
    LogProbs,
    View,
)
from tests.backends.architectures import (
    IMAGE_TEXT,
    NAMES,
    NOT_BUILT,
    ONE_AT_A_TIME,
    REFUSED,
    UNCACHED_TEXTS,
    WHOLE_CONTEXTS,
    Row,
    documented,
    expected,
    tiny_config,
    tiny_model,
)
from tests.backends.test_plain_lora import assert_equal_factors
from tests.helpers.measured import measure, written
from tests.helpers.models import byte_tokenizer

NULL = View("null", 0)
SETTINGS = null_adapters.NullSettings(runs=2)
# The first three can share a sequence, if the model allows it.
ANSWERS = (" and its end", " or another end, which has more tokens than the first", ".")
TEXTS = [*(LogProbs("A prompt", answer) for answer in ANSWERS), LogProbs("x", "yes")]
# Within the windows of the tiny models, and beyond them.
CONTEXTS = [Divergence(p, "kl", 2, c) for c in (10, 40) for p in ("A prompt", "Another")]
WRITTEN = [Generation("A prompt", 6), Generation("A longer prompt", 6)]
LANGUAGE_LAYERS = r".*(language|text)_model.*\.(q|k|v|o|gate|up|down)_proj"
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}
"""Nats: the rounding of some layers in float32."""


def load(network: Any, folder: Path) -> hf.HfBackend:
    opened = copy.deepcopy(network), byte_tokenizer(), "best_effort"
    return hf.load(Source(folder, folder, device="cpu"), SETTINGS, opened)


def adapted(network: Any, folder: Path, targets: Any = "all-linear") -> Any:
    """peft's model with a random adapter, which is saved in `folder`."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
    wrapped = get_peft_model(copy.deepcopy(network), config).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1
    wrapped.save_pretrained(folder)
    return wrapped


def plain_linears(network: Any) -> list[str]:
    """Names of the layers that peft can adapt and that a model calls as modules."""
    modules = {n.rsplit(".")[-1] for n, m in network.named_modules() if type(m) is nn.Linear}
    return sorted(modules - {"lm_head", "out_proj"})


def adapted_as_peft_can(network: Any, folder: Path) -> Any:
    """All linear layers, or those that peft can run; the product runs or refuses the others."""
    try:
        wrapped = adapted(network, folder)
    except ValueError:  # peft refuses layers of state spaces
        return adapted(network, folder, plain_linears(network))
    try:
        logits(wrapped, (5, 6, 7))
    except (AttributeError, RuntimeError):  # routers and grouped layers with other outputs
        with suppress(AdapterError):
            load(network, folder)
        return adapted(network, folder, plain_linears(network))
    return wrapped


def as_null(wrapped: Any) -> Any:
    """peft's model with the factors of the first null; None if it has expert layers."""
    wrapped = copy.deepcopy(wrapped)
    for name, layer in wrapped.base_model.model.named_modules():
        if isinstance(layer, ParamWrapper):
            return None
        if isinstance(layer, LoraLayer):
            a, b = layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data
            scaling = layer.scaling["default"]
            delta = LowRank(a.numpy(), b.numpy() * np.float32(scaling), scaling)
            null = null_adapters.low_rank(name, delta, SETTINGS)
            rank = null.a.shape[1]
            a.zero_()[:rank] = torch.from_numpy(null.a[0])
            b.zero_()[:, :rank] = torch.from_numpy(null.b[0]) / scaling
    return wrapped


def logits(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return (
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)
        )


def value(model: Any, base: Any, row: EncodedRequest) -> np.ndarray:
    """The answer to a request, from one pass of `model` and `base` over the whole text."""
    found = logits(model, row.ids)[list(row.positions)]
    if row.kind == "logprobs":
        return found.gather(-1, torch.tensor(row.targets)[:, None])[:, 0].numpy()
    return (found.exp() * (found - logits(base, row.ids)[list(row.positions)])).sum(-1).numpy()


def check_numbers(backend: hf.HfBackend, models: Mapping[View, Any]) -> None:
    requests = [*TEXTS, *CONTEXTS]
    rows = [row for row, _ in backend.encode(requests)]
    stacked = measure(backend, [BASE, FINETUNED, NULL], requests)
    for view in (BASE, FINETUNED, NULL):
        alone = measure(backend, [view], requests)
        for request, row in zip(requests, rows, strict=True):
            if view == BASE and request in CONTEXTS:
                continue
            found = stacked.get(view, request)
            np.testing.assert_allclose(found, alone.get(view, request), **TOLERANCE)
            if view in models:
                right = value(models[view], models[BASE], row)
                np.testing.assert_allclose(found, right, **TOLERANCE)
            if view != BASE and request in CONTEXTS:
                assert found.max() > 1e-6


def check_texts(backend: hf.HfBackend, models: Mapping[View, Any], use_cache: bool) -> None:
    texts = measure(backend, [BASE, FINETUNED, NULL], WRITTEN)
    for view, model in models.items():
        for request in WRITTEN:
            assert texts.text(view, request) == written(model, request, use_cache=use_cache)


def how(backend: hf.HfBackend) -> Row:
    """How the backend computes this model."""
    rows = [row for row, _ in backend.encode(TEXTS)]
    try:
        backend.forward([BASE, FINETUNED, NULL], rows)
        is_stacked = backend.batches_views
    except NotStackable:
        is_stacked = False
    return Row(
        "stacked" if is_stacked else "one view at a time",
        shares_prefix=backend.prefix_cache.reach > 0,
        batches_texts=backend._generator.can_batch,
    )


FAST = {"bert", "gemma3_text", "mamba", "qwen2_5_vl", "rwkv"}
CASES = [
    pytest.param(
        name,
        marks=[
            *([] if name in FAST else [pytest.mark.slow]),
        ],
    )
    for name in (*NAMES, *IMAGE_TEXT)
    if name not in NOT_BUILT
]


@pytest.mark.parametrize("name", CASES)
def test_an_architecture_equals_peft(name: str, tmp_path: Path) -> None:
    row = expected(name)
    network = tiny_model(name)
    if row.outcome == "refused":
        adapted(network, tmp_path)
        with pytest.raises((AdapterError, CannotDecide), match=row.refused) as caught:
            load(network, tmp_path)
        assert len(str(caught.value).splitlines()) == 1
        return
    if name in IMAGE_TEXT:
        tuned = adapted(network, tmp_path, LANGUAGE_LAYERS)
    else:
        tuned = adapted_as_peft_can(network, tmp_path)
    plain = plain_lora.read(network, tmp_path)
    if plain is not None:
        assert_equal_factors(plain, tuned)
    backend = load(network, tmp_path)
    models = {BASE: network, FINETUNED: tuned, NULL: as_null(tuned)}
    models = {view: model for view, model in models.items() if model is not None}
    check_numbers(backend, models)
    # The cache of BLT does not fit its own configuration.
    check_texts(backend, models, use_cache=name != "blt")
    assert how(backend) == row


def test_a_model_of_speech_reads_text(tmp_path: Path) -> None:
    torch.manual_seed(0)
    make: Any = pytest.importorskip("transformers").AutoModelForMultimodalLM
    network = make.from_config(tiny_config("granite_speech"), dtype=torch.float32).eval()
    network.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    opened, _, _ = loading.open_base(Source(tmp_path, tmp_path, device="cpu"))
    torch.testing.assert_close(logits(opened, (5, 6, 7)), logits(network, (5, 6, 7)))


def test_an_image_text_model_is_loaded_whole(tmp_path: Path) -> None:
    network = tiny_model("qwen2_5_vl")
    network.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    opened, _, _ = loading.open_base(Source(tmp_path, tmp_path, device="cpu"))
    assert type(opened) is type(network)
    torch.testing.assert_close(logits(opened, (5, 6, 7)), logits(network, (5, 6, 7)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_BUILT)
def test_other_architectures_cannot_be_built(name: str) -> None:
    with pytest.raises((AttributeError, ImportError, ValueError, StrictDataclassError)):
        tiny_model(name)


def test_each_architecture_has_a_row() -> None:
    assert [name for name, _, _ in documented()] == sorted([*NAMES, *IMAGE_TEXT])
    listed = REFUSED.keys() | ONE_AT_A_TIME | WHOLE_CONTEXTS | UNCACHED_TEXTS | NOT_BUILT.keys()
    assert listed <= {*NAMES, *IMAGE_TEXT}
