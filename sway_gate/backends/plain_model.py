"""A model without views, which scores tokens and draws texts; rounding errors of a precision."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import GenerationConfig

from sway_gate.backends import loading, peft_adapters, vocabulary
from sway_gate.backends.loading import Source
from sway_gate.backends.passes.generator import end_tokens
from sway_gate.backends.passes.rendering import until_end
from sway_gate.measurements import Floats


class Precision(NamedTuple):
    """How weights are stored. `dtype`: of floating point. `bits`: of one weight in a block with a
    common scale; 0 for floating point. `block`: its length; 0 for a whole row. `is_nf4`: the
    4 bits are NormalFloat."""

    name: str
    bits: int = 0
    block: int = 32
    dtype: str = ""
    is_nf4: bool = False


FLOATS = {
    "float32": Precision("float32", dtype="fp32"),
    "float16": Precision("float16", dtype="fp16"),
    "bfloat16": Precision("bfloat16", dtype="bf16"),
}
_NF4_BLOCK = 64
_NF4 = (
    -1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
)  # fmt: skip
"""The levels of NormalFloat (Dettmers et al. 2023), as in bitsandbytes."""
_INPUT_BITS = 8
"""llama.cpp and bitsandbytes' int8 multiply integers: they round the inputs of a layer too."""


class PlainModel:
    """The model of `source`. Raises CannotDecide if it cannot be loaded."""

    def __init__(self, source: Source) -> None:
        self._device = loading.device_named(source.device)
        self._network: nn.Module = loading.load_model(source, self._device)

    def merge(self, source: Source) -> None:
        """Merge the adapter into the weights. Raises AdapterError."""
        vocabulary.fit(self._network, loading.load_tokenizer(source), source.adapter)
        self._network = peft_adapters.wrapped(self._network, source.adapter).merge_and_unload()

    def logits(self, ids: Sequence[int], start: int) -> Floats:
        """The logits before each token from `start` on: [len(ids) - start, vocabulary]."""
        with torch.inference_mode():
            row = torch.tensor([ids[:-1]], device=self._device)
            logits = self._network(input_ids=row).logits[0, start - 1 :]
            return np.asarray(logits.float().cpu().numpy(), dtype=np.float64)

    def sample(
        self, prompts: Sequence[Sequence[int]], each: int, length: int, tokenizer: Any, seed: int
    ) -> list[list[str]]:
        """`each` texts after each prompt, drawn at temperature 1, of at most `length` tokens."""
        network: Any = self._network
        stops = end_tokens(network, tokenizer)
        make_config: Any = GenerationConfig
        network.generation_config = make_config(
            do_sample=True,
            top_k=0,
            max_new_tokens=length,
            num_return_sequences=each,
            eos_token_id=sorted(stops) or None,
            pad_token_id=0,
        )
        torch.manual_seed(seed)
        found = []
        for prompt in prompts:
            row = torch.tensor([prompt], device=self._device)
            drawn = network.generate(row, attention_mask=torch.ones_like(row))
            new = [until_end(ids, stops) for ids in drawn[:, len(prompt) :].tolist()]
            found.append([str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in new])
        return found

    def rows(self, limit: int) -> dict[str, tuple[NDArray[np.intp], Floats]]:
        """At most `limit` rows of each matrix, by its name: numbers [n] and values [n, in]."""
        found = {}
        for name, weight in self._network.named_parameters():
            if weight.ndim == 2:
                count = min(limit, len(weight))
                numbers = np.linspace(0, len(weight) - 1, count).astype(np.intp)
                values = weight.detach()[torch.from_numpy(numbers)]
                found[name] = numbers, values.double().cpu().numpy()
        return found

    def round_to(self, dtype: str) -> None:
        """Round the weights to this floating-point format; they stay in their own."""
        with torch.no_grad():
            for weight in self._network.parameters():
                weight.copy_(weight.to(loading.DTYPES[dtype]))

    def round_to_nf4(self) -> None:
        """Round the linear layers to NormalFloat of 4 bits, as bitsandbytes does: not the head."""
        network: Any = self._network
        head = network.get_output_embeddings()
        for module in network.modules():
            if isinstance(module, nn.Linear) and module is not head:
                with torch.no_grad():
                    module.weight.copy_(nf4(module.weight))

    def add_errors(self, precision: Precision, seed: int) -> None:
        """Add the rounding errors of integers to the linear layers and their inputs.

        A base can lie on the grid of the precision, a merged model does not. So the errors are
        drawn: uniform over one step of the grid. Inputs have 8 bits.
        """
        generator = torch.Generator().manual_seed(seed)
        of_inputs = precision._replace(bits=_INPUT_BITS)
        for module in self._network.modules():
            if isinstance(module, nn.Linear):
                with torch.no_grad():
                    module.weight.add_(_error(module.weight, precision, generator))
                module.register_forward_pre_hook(
                    lambda _, given: (given[0] + _error(given[0], of_inputs, generator),)
                )


def threads() -> int:
    """The threads that torch computes with; other libraries take as many."""
    return torch.get_num_threads()


def nf4(values: torch.Tensor) -> torch.Tensor:
    """Each block of 64 as products of its largest size and the nearest of the 16 levels."""
    levels = torch.tensor(_NF4, device=values.device)
    flat = values.float().flatten()
    blocks = nn.functional.pad(flat, (0, -len(flat) % _NF4_BLOCK)).view(-1, _NF4_BLOCK)
    size = blocks.abs().amax(-1, keepdim=True)
    at = torch.bucketize(blocks / size.clamp(min=1e-30), (levels[1:] + levels[:-1]) / 2)
    return (levels[at] * size).flatten()[: len(flat)].view_as(values)


def _error(values: torch.Tensor, precision: Precision, generator: torch.Generator) -> torch.Tensor:
    noise = torch.rand(values.shape, generator=generator) - 0.5
    return noise.to(values.device, values.dtype) * _steps(values, precision)


def _steps(values: torch.Tensor, precision: Precision) -> torch.Tensor:
    """The distance of neighbouring numbers at `values` [..., in], from the range of their block."""
    width = values.shape[-1]
    block = precision.block or width
    padded = nn.functional.pad(values, (0, -width % block))
    blocks = padded.reshape(*padded.shape[:-1], -1, block)
    span = (blocks.amax(-1) - blocks.amin(-1)) / (2**precision.bits - 1)
    steps: torch.Tensor = span.repeat_interleave(block, dim=-1)[..., :width]
    return steps
