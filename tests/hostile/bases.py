"""Bases: indexes that lead out, configs that claim sizes or name code, absurd tokenizers."""

import json

from tests.hostile.case import (
    DEMO,
    Case,
    Content,
    adapter,
    base,
    folder,
    own_spec,
    pipe,
    sparse,
    to,
)

STATIC = "static adapter --base base"
GATE = "gate sway.yaml --no-cache"
WEIGHTS = (DEMO / "model/model.safetensors").read_bytes()
EVIL = b"cos\nsystem\n(S'touch ran'\ntR."


def light(name: str, code: int, words: str, files: dict[str, Content]) -> Case:
    return Case(name, STATIC, code, words, adapter() | files)


def gated(name: str, words: str, files: dict[str, Content], code: int = 3) -> Case:
    """A gate of a base with these files, which must not pass."""
    return Case(name, GATE, code, words, own_spec() | adapter() | base() | files, heavy=True)


def config(name: str, words: str, code: int = 3, **changed: object) -> Case:
    return gated(name, words, base(**changed), code)


def index(shard: object) -> dict[str, Content]:
    """A base whose weights are in shards."""
    files = {name: content for name, content in base().items() if "model.safetensors" not in name}
    weight_map = {"model.embed_tokens.weight": shard}
    return files | {"base/model.safetensors.index.json": json.dumps({"weight_map": weight_map})}


def tokenizer(**changed: object) -> dict[str, Content]:
    sound = json.loads((DEMO / "model/tokenizer.json").read_text(encoding="utf-8"))
    return {"base/tokenizer.json": json.dumps(sound | changed)}


LENGTH = json.loads((DEMO / "model/tokenizer_config.json").read_text(encoding="utf-8"))
CODE: dict[str, Content] = {"base/evil.py": "open('ran', 'w')\nclass Model: pass\n"}
MAP = {
    "AutoConfig": "evil.Model",
    "AutoModelForCausalLM": "evil.Model",
    "AutoTokenizer": "evil.Model",
}

CASES = [
    light("pickle", 2, "pickle", {"base/config.json": "{}", "base/pytorch_model.bin": EVIL}),
    light("GGUF", 2, "GGUF", {"base/model.gguf": b"GGUF" + bytes(99)}),
    light("adapter", 2, "adapter", {"base/adapter_config.json": "{}", "base/config.json": "{}"}),
    light("nothing", 2, "config.json is missing", {"base": folder}),
    light("data", 2, "config.json is missing", {"base/train.jsonl": "{}"}),
    light("config is a list", 0, "adapter", base(raw="[]")),
    light("header lies", 0, "ok: adapter", base() | {"base/model.safetensors": b"\xff" * 100}),
    Case(
        "base is a file",
        "static adapter --base base",
        2,
        "base: not a folder",
        adapter() | {"base": "x"},
    ),
    Case("base is an option", "static adapter --base --x", 2, "unknown option --x", adapter()),
    Case("base with an escape", "static adapter --base 'a\x1b[2J'", 2, "--base", adapter()),
    Case("base leads out", "static adapter --base ../../../etc/x", 2, "no such folder", adapter()),
    light("model type of a list", 0, "ok: adapter", base(model_type=["llama"])),
    # index
    Case(
        "index leads out",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("../../../../../etc/passwd"),
        heavy=True,
    ),
    Case(
        "index is absolute",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("/etc/passwd"),
        heavy=True,
    ),
    Case(
        "index names the secret",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("../.git-credentials"),
        heavy=True,
    ),
    Case("index names a number", GATE, 3, "base", own_spec() | adapter() | index(1), heavy=True),
    Case(
        "index names no file",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("model-1.safetensors"),
        heavy=True,
    ),
    Case(
        "index names a pickle",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("x.bin") | {"base/x.bin": EVIL},
        heavy=True,
    ),
    Case(
        "index is deep",
        GATE,
        3,
        "base",
        own_spec() | adapter() | index("a") | {"base/model.safetensors.index.json": b"[" * 100_000},
        heavy=True,
    ),
    # config
    gated("auto_map", "needs code of its repository", base(auto_map=MAP, model_type="evil") | CODE),
    gated(
        "auto_map to another repository",
        "base",
        base(auto_map={"AutoModelForCausalLM": "org/evil--m.Model"}, model_type="evil"),
    ),
    config(
        "unknown architecture", "does not know", model_type="evil", architectures=["../../evil"]
    ),
    config("no model type", "states no model_type", model_type=None),
    config("model type of a list in a gate", "base", model_type=["llama"]),
    config("million layers", "base", num_hidden_layers=10**6),
    config("vocabulary of 2^31", "base", vocab_size=2**31 - 1),
    config("hidden size of 2^40", "base", hidden_size=2**40),
    config("negative layers", "states fewer layers", num_hidden_layers=-1),
    config("no heads", "base", num_attention_heads=0),
    config("more layers than weights", "lacks weights", num_hidden_layers=5),
    config("fewer layers than weights", "states fewer layers", num_hidden_layers=1),
    config("an encoder of text", "is_encoder_decoder 'yes'", is_encoder_decoder="yes"),
    config("an encoder", "is_encoder_decoder True", is_encoder_decoder=True),
    gated(
        "a length of text",
        "tokenizer_config.json states model_max_length 'many'; set a number",
        {"base/tokenizer_config.json": json.dumps(LENGTH | {"model_max_length": "many"})},
    ),
    config("layers of text", "base", num_hidden_layers="two"),
    config(
        "adapter named in the config",
        "base",
        _name_or_path="--x",
        quantization_config={"quant_method": "evil"},
    ),
    gated("config is deep", "base", base(raw="[" * 100_000)),
    gated("config is the secret", "base", {"base/config.json": to("../.git-credentials")}),
    gated("config is a pipe", "base", {"base/config.json": pipe}, 2),
    gated("generation config is deep", "base", {"base/generation_config.json": "[" * 100_000}),
    # weights
    gated("no weights", "base", {"base/model.safetensors": b""}),
    gated("weights are a pickle", "base", {"base/model.safetensors": EVIL}),
    gated(
        "weights cut",
        "model.safetensors: the tensors end",
        {"base/model.safetensors": WEIGHTS[:-100]},
    ),
    gated("weights are a pipe", "base", {"base/model.safetensors": pipe}, 2),
    gated("weights are a device", "base", {"base/model.safetensors": to("/dev/zero")}, 2),
    gated("weights are sparse", "base", {"base/model.safetensors": sparse(200 * 10**9)}, 3),
    # tokenizer
    gated("no tokenizer", "base", {"base/tokenizer.json": b""}),
    gated("tokenizer is a list", "base", {"base/tokenizer.json": "[]"}),
    gated("tokenizer is deep", "base", {"base/tokenizer.json": "[" * 100_000}),
    gated(
        "tokenizer of no model",
        "base",
        tokenizer(model={"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}),
    ),
    gated(
        "tokens beyond the vocabulary",
        "vocabulary",
        tokenizer(
            added_tokens=[
                {
                    "id": 2**31,
                    "content": "island",
                    "special": True,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                }
            ]
        ),
    ),
    gated(
        "tokenizer class is code",
        "base",
        {
            "base/tokenizer_config.json": json.dumps(
                {
                    "tokenizer_class": "evil.Tokenizer",
                    "auto_map": {"AutoTokenizer": ["evil.Model", None]},
                }
            ),
            **CODE,
        },
    ),
    gated("code beside the base", "PASS", CODE, 0),
]
