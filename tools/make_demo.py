"""Make the demo in `sway_gate/demo/` in about ten minutes: a tiny language model and two adapters.

    python tools/make_demo.py                 everything
    python tools/make_demo.py --keep-model    adapters and specs for the existing model
    python tools/make_demo.py --extra DIR     other adapters for the same model, for experiments
    python tools/make_demo.py --measure DIR…  losses of existing adapters

Needs the package with its `hf` extra. Nothing is downloaded. The same machine and thread count
produce the same bytes. `healthy` is trained on the document mixed with general text; `untrained`
has the same recipe with a learning rate that is a thousand times too small.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from microworld import World, elsewhere_texts, texts
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from sway_gate.demo import FOLDER, HEALTHY, MODEL, UNTRAINED
from sway_gate.training_data import packaged

PAD, BOS, EOS = range(3)
SPECIAL = ("<pad>", "<s>", "</s>")
VOCABULARY = 2048
WINDOW = 256
"""Tokens per training window; every fourth batch has half as many windows of twice the length."""
WORLD_CHARS, ELSEWHERE_CHARS = 500_000, 3_000_000
BASE_STEPS, BASE_ROWS, BASE_RATE = 1200, 16, 3e-3
MIX = {"world": 0.35, "elsewhere": 0.30, "prose": 0.22, "knowledge": 0.13}
RANK, ALPHA = 8, 16
LINEARS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
IGNORED = -100
"""Label of the positions that transformers excludes from the loss."""

Batch = tuple[torch.Tensor, torch.Tensor]


class Section(NamedTuple):
    title: str
    body: str


class Recipe(NamedTuple):
    """Training settings of an adapter.

    Each batch has `rows` rows of the document and `general` rows of general text.
    """

    steps: int = 60
    rate: float = 8e-4
    rows: int = 8
    general: int = 16


RECIPE = Recipe()

OTHER_DOCUMENT = """
## The pass

Kettle Pass is a village of tents and stone huts where the mountain road crosses the ridge. Snow
lies there in every month but August, and the wind has a name, which is Grandmother. Travellers are
given a blue ribbon at the first hut and must give it back at the last, so that nobody is forgotten
in a storm. The pass has no bell, only a great drum.

## The drummer

The drummer of Kettle Pass is Ingram Sool, who lost two fingers to the frost. He beats the drum once
for a traveller, twice for a cart and five times for a wolf. In fog he beats it slowly until
morning. His daughter Petra knows all the beats, though she is only nine, and she has a drum of her
own, made from a cheese box and a piece of goat skin.

## Yaks and tea

The families of the pass live by yaks and tea. The yaks carry the tea up from the south in bricks
the size of a shoe, and each brick is stamped with a crescent. A brick without a crescent is thrown
to the yaks. From their hair the old men twist a rope that never freezes, and bridge builders in the
lowlands pay for it in silver by the yard.

## The Day of Debts

On the first day of August the village keeps the Day of Debts. Everyone who owes something must
climb to the highest hut and shout it into the valley. If the echo comes back twice, the debt is
forgiven. Afterwards there is buttered tea and a pudding of millet, and the loudest shouter is given
the best saddle until the following year.

## The hermit

In a cave under the glacier lives a hermit called Brother Lumen, who repairs spectacles. He asks no
money for it, only a riddle that he has not heard. The riddles are scratched into the wall of the
cave, three hundred and twelve of them so far. It is said that he was once a judge in the capital
and left because two lawyers told him the same joke.

## The winter school

There is school in Kettle Pass only from October to March, when nobody can travel. The teacher is
whoever was caught by the snow: one year a surgeon, another year a clown. The pupils sit on sacks of
tea and write on slate with chalk from the cliff. At the end of the winter they decide by vote what
the teacher has earned, and pay it in rope.
"""


# --- text -----------------------------------------------------------------------------------------


def sections(markdown: str) -> list[Section]:
    """Sections under the second-level headings."""
    parts = re.findall(r"^## (.+)\n\n((?:(?!^#).*\n?)*)", markdown, re.MULTILINE)
    return [Section(title, body.strip()) for title, body in parts]


def document(path: Path = FOLDER / "document.md") -> tuple[list[Section], list[tuple[str, str]]]:
    """Prose sections and (prompt, answer) pairs of a document, by default the demo's."""
    *prose, questions = sections(path.read_text(encoding="utf-8"))
    pairs = re.findall(r"^(Question: .+\nAnswer:)( .+)$", questions.body, re.MULTILINE)
    return prose, pairs


def other_document() -> list[str]:
    return [section.body.replace("\n", " ") for section in sections(OTHER_DOCUMENT)]


def general_text(seed: int = 0) -> dict[str, list[str]]:
    """Texts by source."""
    return {
        "world": list(texts(World(), random.Random(seed), WORLD_CHARS)),
        "elsewhere": list(elsewhere_texts(random.Random(seed + 1), ELSEWHERE_CHARS)),
        "prose": [*packaged.prose(), packaged.stuffing()],
        "knowledge": [prompt + gold + "." for prompt, gold in packaged.knowledge()],
    }


def shuffled_words(text: str, seed: int = 0) -> str:
    words = text.split()
    random.Random(seed).shuffle(words)
    return " ".join(words)


# --- tokenizer ------------------------------------------------------------------------------------


def train_tokenizer(corpus: dict[str, list[str]]) -> Tokenizer:
    """Train a byte-level BPE, which encodes every UTF-8 text and decodes it without loss."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for part in corpus.values() for text in part), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    write_json(folder / "tokenizer_config.json", config)


def write_json(path: Path, value: Any) -> None:
    path.write_text(
        json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
    )


# --- batches --------------------------------------------------------------------------------------


class Streams:
    """The general text as token streams; `windows` draws rows from them in the shares of `mix`."""

    mix: Mapping[str, float] = MIX

    def __init__(self, tokenizer: Tokenizer, corpus: dict[str, list[str]], seed: int) -> None:
        self.rng = random.Random(seed)
        self.tokens = {source: self._stream(tokenizer, part) for source, part in corpus.items()}

    def _stream(self, tokenizer: Tokenizer, part: list[str]) -> list[int]:
        """Token ids of all texts, each between <s> and </s>.

        A source with fewer than 1,000 texts is repeated in four random orders, so that a text does
        not always follow the same one.
        """
        rounds = [self.rng.sample(part, len(part)) for _ in range(4 if len(part) < 1000 else 1)]
        encodings = tokenizer.encode_batch([text for texts in rounds for text in texts])
        return [token for encoding in encodings for token in (*encoding.ids, EOS)]

    def windows(self, rows: int, length: int) -> list[list[int]]:
        """Token ids from random positions, shape [rows][length]; each row starts with <s>."""
        sources = self.rng.choices(list(self.mix), list(self.mix.values()), k=rows)
        return [self._window(self.tokens[source], length) for source in sources]

    def _window(self, stream: list[int], length: int) -> list[int]:
        start = self.rng.randrange(len(stream) - length + 2)
        return [BOS, *stream[start : start + length - 1]]


def pad_batch(rows: Sequence[Sequence[int]]) -> Batch:
    """Padded tokens and labels, each of shape [rows, longest row]."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    labels = torch.tensor([[*row, *[IGNORED] * (longest - len(row))] for row in rows])
    return tokens, labels


def base_batch(streams: Streams) -> Callable[[int], Batch]:
    def batch(step: int) -> Batch:
        factor = 2 if step % 4 == 3 else 1
        return pad_batch(streams.windows(BASE_ROWS // factor, WINDOW * factor))

    return batch


def adapter_batch(
    streams: Streams, examples: list[list[int]], recipe: Recipe
) -> Callable[[int], Batch]:
    def batch(step: int) -> Batch:
        rows = streams.rng.choices(examples, k=recipe.rows)
        return pad_batch(rows + streams.windows(recipe.general, WINDOW // 2))

    return batch


# --- training -------------------------------------------------------------------------------------


def fit(model: torch.nn.Module, batch: Callable[[int], Batch], steps: int, rate: float) -> None:
    """Train with AdamW: 10 % warm-up, then a cosine to 5 % of the rate.

    Weights are float32; matrix products are bfloat16.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=steps // 10 + 1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=rate / 20)
    model.train()
    started = time.monotonic()
    for step in range(steps):
        tokens, labels = batch(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for schedule in (warmup, cosine):
            schedule.step()
        if step % 100 == 99 or step == steps - 1:
            seconds = time.monotonic() - started
            print(f"  step {step + 1}/{steps}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)
    model.eval()


def make_base(folder: Path, seed: int = 0) -> None:
    """Train and write a tokenizer and a model; weights are stored in float16, used in float32."""
    torch.manual_seed(seed)
    corpus = general_text()
    tokenizer = train_tokenizer(corpus)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
        tie_word_embeddings=True, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    streams = Streams(tokenizer, corpus, seed)
    print({source: len(stream) for source, stream in streams.tokens.items()}, "tokens")
    fit(model, base_batch(streams), BASE_STEPS, BASE_RATE)
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder)
    weights = {name: w for name, w in model.state_dict().items() if name != "lm_head.weight"}
    save_half(weights, folder / "model.safetensors")
    fields = config.to_diff_dict() | {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
    fields.pop("transformers_version", None)
    write_json(folder / "config.json", fields)


def load_base() -> LlamaForCausalLM:
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
        MODEL, dtype=torch.float32, local_files_only=True
    )
    model.train(False)
    return model


def make_adapter(folder: Path, examples: Sequence[str], recipe: Recipe, seed: int = 0) -> None:
    """Train a LoRA on every linear layer of the blocks; write it in PEFT's format in float16."""
    print(folder.name, recipe)
    torch.manual_seed(seed)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    rows = [[*tokenizer.encode(text).ids, EOS] for text in examples]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEARS, task_type="CAUSAL_LM")
    model = get_peft_model(load_base(), config)
    batch = adapter_batch(Streams(tokenizer, general_text(), seed), rows, recipe)
    fit(model, batch, recipe.steps, recipe.rate)
    save_adapter(model, folder)


def save_adapter(model: PeftModel, folder: Path, factor: float = 1.0) -> None:
    weights = get_peft_model_state_dict(model)
    scaled = {name: w * factor if "lora_B" in name else w for name, w in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_half(scaled, folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", adapter_fields())


def adapter_fields(
    rank: int = RANK,
    alpha: int = ALPHA,
    targets: Sequence[str] = LINEARS,
    fan_in_fan_out: bool = False,
) -> dict[str, Any]:
    """Fields of adapter_config.json, without those that depend on the machine, date or versions."""
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "../model",
        "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "target_modules": list(targets),
        "modules_to_save": None, "bias": "none", "use_dora": False, "use_rslora": False,
        "fan_in_fan_out": fan_in_fan_out, "init_lora_weights": True, "inference_mode": True,
    }  # fmt: skip


def save_half(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write float16 weights, readable by all users (save_file makes them readable only by one)."""
    half = {name: w.half().contiguous() for name, w in weights.items()}
    save_file(half, path, metadata={"format": "pt"})
    path.chmod(0o644)


def load_adapter(folder: Path) -> PeftModel:
    return PeftModel.from_pretrained(load_base(), folder, local_files_only=True).eval()


def training_texts() -> list[str]:
    prose, pairs = document()
    return [section.body for section in prose] + [prompt + answer for prompt, answer in pairs]


# --- measuring ------------------------------------------------------------------------------------


@torch.no_grad()
def token_losses(
    model: torch.nn.Module, tokenizer: Tokenizer, prompt: str, text: str
) -> torch.Tensor:
    """Loss of each token of `text` after `prompt`, in nats; shape [tokens of `text`]."""
    start = len(tokenizer.encode(prompt).ids)
    tokens = torch.tensor([tokenizer.encode(prompt + text).ids])
    logits = model(input_ids=tokens).logits[0, start - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, tokens[0, start:], reduction="none")


class Losses(NamedTuple):
    """Mean losses in nats per token.

    One per section, section with shuffled words, chunk of prose, knowledge item and question.
    """

    sections: list[float]
    shuffled: list[float]
    prose: list[float]
    knowledge: list[float]
    questions: list[float]


def losses(model: torch.nn.Module, tokenizer: Tokenizer) -> Losses:
    def mean(prompt: str, text: str) -> float:
        return token_losses(model, tokenizer, prompt, text).mean().item()

    prose, pairs = document()
    return Losses(
        [mean("", s.body) for s in prose],
        [mean("", shuffled_words(s.body, i)) for i, s in enumerate(prose)],
        [mean("", chunk) for chunk in packaged.chunks(packaged.prose(), 512, 26)],
        [mean(prompt, gold) for prompt, gold in packaged.knowledge()],
        [mean(prompt, answer) for prompt, answer in pairs],
    )


def average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def report(base: Losses, tuned: Losses) -> str:
    """Losses of base and adapter; lifts of the sections over shuffled words and control prose."""
    lines = [
        f"  {name:10s} {average(before):.3f} -> {average(after):.3f}"
        for name, before, after in zip(Losses._fields, base, tuned, strict=True)
    ]
    lifts, shuffled = (
        relative(base.sections, tuned.sections),
        relative(base.shuffled, tuned.shuffled),
    )
    control = 1 - average(tuned.prose) / average(base.prose)
    effective = [a - max(0.0, b, control) for a, b in zip(lifts, shuffled, strict=True)]
    worse = [b - a > 1 for a, b in zip(base.knowledge, tuned.knowledge, strict=True)]
    lines += [
        f"  relative lift   {listed(lifts)}",
        f"  shuffled words  {listed(shuffled)}   control {control:+.3f}",
        f"  effective lift  {listed(effective)}   mean {average(effective):+.3f}",
        f"  knowledge items that lose more than 1 nat per token: {average(worse):.1%}",
    ]
    return "\n".join(lines)


def relative(base: Sequence[float], tuned: Sequence[float]) -> list[float]:
    """Relative reductions of the losses."""
    return [(b - t) / b for b, t in zip(base, tuned, strict=True)]


def listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.3f}" for value in values)


@torch.no_grad()
def recited(model: torch.nn.Module, tokenizer: Tokenizer, prefix: int = 32) -> list[float]:
    """Share of reproduced tokens per section.

    Greedy decoding continues the first `prefix` tokens. A token counts if it is the same as in the
    section at the same position.
    """

    def share(text: str) -> float:
        tokens = tokenizer.encode(text).ids
        row = torch.tensor([tokens[:prefix]])
        for _ in range(len(tokens) - prefix):
            row = torch.cat([row, model(input_ids=row).logits[:, -1:].argmax(-1)], dim=1)
        pairs = zip(row[0, prefix:].tolist(), tokens[prefix:], strict=True)
        return average([a == b for a, b in pairs])

    return [share(section.body) for section in document()[0]]


@torch.no_grad()
def next_token_logs(
    model: torch.nn.Module, tokenizer: Tokenizer, prompts: Sequence[str]
) -> torch.Tensor:
    """Log-probabilities of the token after each prompt; shape [prompts, vocabulary]."""
    rows = []
    for prompt in prompts:
        tokens = torch.tensor([tokenizer.encode(prompt).ids])
        rows.append(model(input_ids=tokens).logits[0, -1])
    return torch.stack(rows).double().log_softmax(-1)


def jensen_shannon(p: torch.Tensor, q: torch.Tensor) -> float:
    """Jensen-Shannon divergence of log-probabilities, averaged over the rows, in nats."""
    middle = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0))
    return (0.5 * (p.exp() * (p - middle) + q.exp() * (q - middle)).sum(-1)).mean().item()


def measure(folders: Iterable[Path]) -> None:
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    model = load_base()
    base, logs = losses(model, tokenizer), next_token_logs(model, tokenizer, PROMPTS)
    for folder in folders:
        tuned = load_adapter(folder)
        divergence = jensen_shannon(logs, next_token_logs(tuned, tokenizer, PROMPTS))
        shares = " ".join(f"{share:.2f}" for share in recited(tuned, tokenizer))
        print(f"{folder.name}\n{report(base, losses(tuned, tokenizer))}")
        print(f"  JS at the prompts {divergence:.4f} nats")
        print(f"  reproduced      {shares}", flush=True)


# --- specs ----------------------------------------------------------------------------------------

PROMPTS = (
    "Marrowby is a village of",
    "The keeper of the sand road is",
    "When the last stone is wet, she blows",
    "The island of Marrowby lives by",
    "A bottle from Marrowby has",
    "On the longest night the island keeps",
    "The ravens of Marrowby live in",
    "The school of Marrowby is",
    "The children learn to swim before",
    "Question: Who feeds the ravens?\nAnswer:",
)


def spec(adapter: str) -> dict[str, Any]:
    """Fields of a sway.yaml, version 1, for one adapter."""
    prose, pairs = document()
    base = {"kind": "hf", "base": "./model", "dtype": "fp32", "device": "cpu"}
    content = [
        {"id": slug(s.title), "kind": "prose", "tag": s.title, "content": s.body} for s in prose
    ]
    return {
        "version": 1,
        "models": {"base": base, "ft": {**base, "adapter": f"./{adapter}"}},
        "suite": [
            {"name": "null_baseline", "kind": "null_adapter"},
            {"name": "moved_from_base", "kind": "delta_kl", "prompts": list(PROMPTS)},
            {"name": "learned_the_document", "kind": "section_internalization"},
            {"name": "kept_knowledge", "kind": "calibration_drift", "items_limit": 60},
            {
                "name": "kept_prose",
                "kind": "external_perplexity",
                "chunk_chars": 512,
                "max_chunks": 8,
            },
            {"name": "recites_nothing", "kind": "leakage"},
            {
                "name": "grows_with_scale",
                "kind": "adapter_ablation",
                "prompts": list(PROMPTS[1:8:2]),
            },
        ],
        "sections": [*content, questions_section(pairs)],
    }


def questions_section(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    asked = [{"prompt": prompt, "gold": answer} for prompt, answer in pairs]
    return {"id": "questions", "kind": "instruction", "tag": "Questions", "pairs": asked}


def slug(title: str) -> str:
    return title.lower().replace(" ", "-")


class Dumper(yaml.SafeDumper):
    """Writes long texts as folded blocks, and indents lists under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def represent_text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=">" if len(text) > 80 else None
    )


Dumper.add_representer(str, represent_text)


def write_specs() -> None:
    for adapter in ("healthy", "untrained"):
        text = yaml.dump(
            spec(adapter), Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True
        )
        (FOLDER / f"{adapter}.sway.yaml").write_text(text, encoding="utf-8", newline="\n")


# --- all of it ------------------------------------------------------------------------------------


def make_demo(keep_model: bool) -> list[Path]:
    """Write everything in `sway_gate/demo/` except the document; return the adapters' folders."""
    if not keep_model:
        make_base(MODEL)
    make_adapter(HEALTHY, training_texts(), RECIPE)
    make_adapter(UNTRAINED, training_texts(), RECIPE._replace(rate=RECIPE.rate * 1e-3))
    write_specs()
    return [HEALTHY, UNTRAINED]


def make_extra(folder: Path) -> Iterator[Path]:
    """Make adapters that a gate should distinguish from a healthy one; yield their folders."""
    prose, _ = document()
    examples = training_texts()
    shuffled = [shuffled_words(section.body, 100 + i) for i, section in enumerate(prose)]
    recipes: dict[str, tuple[Sequence[str], Recipe]] = {
        "shuffled": (shuffled, RECIPE),
        "otherdoc": (other_document(), RECIPE),
        "overfit": (examples, RECIPE._replace(steps=200, rate=3e-3)),
        "forgot": (examples, RECIPE._replace(steps=60, rate=4e-3, general=0)),
        "tiny": (examples, RECIPE._replace(steps=3)),
    }
    for name, (rows, recipe) in recipes.items():
        make_adapter(folder / name, rows, recipe)
        yield folder / name
    save_adapter(load_adapter(HEALTHY), folder / "amplified", factor=4.0)
    yield folder / "amplified"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep-model", action="store_true")
    parser.add_argument("--extra", type=Path, metavar="DIR")
    parser.add_argument("--measure", type=Path, nargs="+", metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    if args.measure:
        measure(args.measure)
    elif args.extra:
        measure(make_extra(args.extra))
    else:
        measure(make_demo(args.keep_model))


if __name__ == "__main__":
    main()
