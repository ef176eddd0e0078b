"""Embedding models: modules that name code, files elsewhere, pickles."""

import json

from tests.hostile.case import Case, Content, pipe, spec

EVIL = b"cos\nsystem\n(S'touch ran'\ntR."
PROBE = (
    "{name: e, kind: adapter_revert, embedding_model: ./embedder, "
    "cases: [{prompt: a, gold: b, paraphrases: [c]}]}"
)


def case(name: str, words: str, **files: Content) -> Case:
    """A gate with an embedding model that has these files, of which ``__`` is a dot."""
    own = {f"embedder/{file.replace('__', '.')}": content for file, content in files.items()}
    command = "gate sway.yaml --no-cache"
    return Case(name, command, 3, words, spec(PROBE) | own, heavy=True)


def modules(**fields: str) -> str:
    """A modules.json with one module."""
    sound = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    return json.dumps([sound | fields])


CASES = [
    case("nothing", "contains none of", README__md="x"),
    case("modules are code", "only Transformer, Pooling", modules__json=modules(type="os.system")),
    case(
        "module beside the spec",
        "only Transformer, Pooling",
        modules__json=modules(type="evil.Model"),
        evil__py="open('ran', 'w')\n",
    ),
    case("module leads out", "outside the folder", modules__json=modules(path="../..")),
    case("modules are deep", "modules.json is invalid", modules__json="[" * 100_000),
    case("modules are a number", "lists no modules", modules__json="1"),
    case(
        "weights are a pickle",
        "pickled weights are refused",
        modules__json=modules(),
        config__json="{}",
        pytorch_model__bin=EVIL,
    ),
    case(
        "activation is code",
        "which is not one of torch's",
        modules__json=modules(type="sentence_transformers.models.Dense"),
        config__json=json.dumps({"activation_function": "os.system"}),
        model__safetensors=EVIL,
    ),
    case(
        "follows an adapter",
        "is an adapter without its base",
        modules__json=modules(),
        config__json="{}",
        adapter_config__json=json.dumps({"base_model_name_or_path": "org/other"}),
        model__safetensors=EVIL,
    ),
    case(
        "weights are not safetensors",
        "cannot be loaded",
        modules__json=modules(),
        config__json="{}",
        model__safetensors=EVIL,
    ),
    case("modules are a pipe", "modules.json", modules__json=pipe),
]
