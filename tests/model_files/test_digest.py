"""A digest follows the content of the files that count, and nothing else."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from sway_gate import cache
from sway_gate.errors import CannotDecide
from sway_gate.model_files import digest

MODEL = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"one",
    "model-00002-of-00002.safetensors": b"two",
    "model.safetensors.index.json": b"index",
    "tokenizer.json": b"tokens",
}


@pytest.fixture(autouse=True)
def settled(tmp_path, monkeypatch) -> None:
    """Use a separate cache, and treat files as old enough to be cached."""
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(digest, "_SETTLED_NS", 0)


@pytest.fixture
def folder(tmp_path) -> Path:
    (model := tmp_path / "model").mkdir()
    for name, content in MODEL.items():
        (model / name).write_bytes(content)
    return model


@pytest.fixture
def adapter(tmp_path) -> Path:
    (adapter := tmp_path / "adapter").mkdir()
    (adapter / "adapter_config.json").write_bytes(b"{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    return adapter


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the files whose content was read, as they are read."""
    names: list[str] = []
    real = digest.file_sha256
    monkeypatch.setattr(digest, "file_sha256", lambda path: names.append(path.name) or real(path))
    return names


@pytest.mark.parametrize("content", [b"", b"abc", bytes(3_000_000)], ids=["empty", "abc", "3 MB"])
def test_file_sha256(tmp_path, content):
    (path := tmp_path / "file").write_bytes(content)
    assert digest.file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_model_digest_is_that_of_sha256sum(folder):
    lines = [f"{hashlib.sha256(MODEL[name]).hexdigest()}  {name}\0" for name in sorted(MODEL)]
    assert digest.model_digest(folder) == hashlib.sha256("".join(lines).encode()).hexdigest()


COUNTS_FOR_A_MODEL = {
    "config.json": True,
    "generation_config.json": True,
    "model.safetensors": True,
    "tokenizer_config.json": True,
    "vocab.json": True,
    "vocab.txt": True,
    "merges.txt": True,
    "spiece.model": True,
    "special_tokens_map.json": True,
    "added_tokens.json": True,
    "chat_template.jinja": True,
    "modeling_own.py": True,
    "README.md": False,
    "optimizer.pt": False,
    "pytorch_model.bin": False,
    "trainer_state.json": False,
}


@pytest.mark.parametrize(("name", "counts"), COUNTS_FOR_A_MODEL.items(), ids=COUNTS_FOR_A_MODEL)
def test_what_counts_for_a_model(folder, name, counts):
    before = digest.model_digest(folder)
    (folder / name).write_bytes(b"changed")
    assert (digest.model_digest(folder) != before) is counts


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("adapter_config.json", True),
        ("adapter_model.safetensors", True),
        ("README.md", False),
        ("optimizer.pt", False),
        ("tokenizer.json", True),
        ("tokenizer_config.json", True),
        ("chat_template.jinja", True),
    ],
)
def test_what_counts_for_an_adapter(adapter, name, counts):
    before = digest.adapter_digest(adapter)
    (adapter / name).write_bytes(b"changed")
    assert (digest.adapter_digest(adapter) != before) is counts


def test_a_template_in_the_tokenizers_configuration_counts_for_an_adapter(adapter):
    before = digest.adapter_digest(adapter)
    (adapter / "tokenizer_config.json").write_text('{"chat_template": "{{ x }}"}')
    assert digest.adapter_digest(adapter) != before


def test_renaming_and_swapping_change_the_digest(folder):
    before = digest.model_digest(folder)
    one, two = (
        folder / "model-00001-of-00002.safetensors",
        folder / "model-00002-of-00002.safetensors",
    )
    one.rename(folder / "kept")
    two.rename(one)
    (folder / "kept").rename(two)
    assert digest.model_digest(folder) != before


def test_place_and_links_do_not_count(folder, tmp_path):
    (snapshot := tmp_path / "snapshot").mkdir()
    try:
        for name in MODEL:
            (snapshot / name).symlink_to(folder / name)
    except OSError:
        pytest.skip("links need a privilege here")
    assert digest.model_digest(snapshot) == digest.model_digest(folder)


def test_unchanged_files_are_read_once(folder, reads):
    first = digest.model_digest(folder)
    assert sorted(reads) == sorted(MODEL)
    assert digest.model_digest(folder) == first
    assert len(reads) == len(MODEL)


def test_only_the_changed_file_is_read_again(folder, reads):
    digest.model_digest(folder)
    reads.clear()
    (folder / "config.json").write_bytes(b"{ }")
    digest.model_digest(folder)
    assert reads == ["config.json"]


def test_change_of_the_same_size_is_seen(adapter):
    weights = adapter / "adapter_model.safetensors"
    before = digest.adapter_digest(adapter)
    later = weights.stat().st_mtime_ns + 1
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(later, later))
    assert digest.adapter_digest(adapter) != before


@pytest.mark.skipif(os.name != "posix", reason="elsewhere st_ctime is the time of creation")
def test_change_that_keeps_size_and_modification_time_is_seen(adapter):
    weights = adapter / "adapter_model.safetensors"
    before, found = digest.adapter_digest(adapter), weights.stat()
    time.sleep(0.02)
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert digest.adapter_digest(adapter) != before


def test_young_files_are_not_remembered(folder, reads, monkeypatch):
    monkeypatch.setattr(digest, "_SETTLED_NS", 60 * 10**9)
    digest.model_digest(folder)
    digest.model_digest(folder)
    assert len(reads) == 2 * len(MODEL)


def test_file_written_to_while_it_is_read_is_not_remembered(adapter, monkeypatch):
    weights, real = adapter / "adapter_model.safetensors", digest.file_sha256

    def read_then_append(path: Path) -> str:
        content = real(path)
        with open(path, "ab") as file:
            file.write(b"more")
        return content

    monkeypatch.setattr(digest, "file_sha256", read_then_append)
    digest.tree(adapter, patterns=["*.safetensors"])
    assert digest._load_memo() == {}
    assert weights.stat().st_size == len(b"weightsmore")


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa1a\x01"])
def test_damaged_memo_is_a_miss(folder, content):
    before = digest.model_digest(folder)
    assert cache.store_entry("digests/files", content)
    assert digest.model_digest(folder) == before


def test_memo_is_bounded_and_keeps_the_newest(monkeypatch):
    monkeypatch.setattr(digest, "_MEMO_ENTRIES", 3)
    for i in range(5):
        digest._store_memo({str(i): "hash"})
    assert list(digest._load_memo()) == ["2", "3", "4"]


def test_without_a_store(folder, monkeypatch):
    before = digest.model_digest(folder)
    monkeypatch.setenv("SWAY_CACHE_DIR", f"{__file__}/cache")
    assert digest.model_digest(folder) == before


@pytest.mark.parametrize("name", [".", "missing"])
def test_folder_without_a_model(tmp_path, name):
    names = r"adapter_config\.json, adapter_model\.safetensors, adapters\.safetensors"
    with pytest.raises(CannotDecide, match=f"contains none of {names}; give a"):
        digest.adapter_digest(tmp_path / name)


def test_unreadable_file(folder, monkeypatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(digest, "file_sha256", refuse)
    with pytest.raises(
        CannotDecide, match=r"model.*: cannot be read \(Permission denied\); make it readable"
    ):
        digest.model_digest(folder)


SPARSE = {
    "no header": (b"", "the header names no tensors"),
    "a long header": (b"\xff" * 7 + b"\0", "the header claims 72057594037927943 bytes"),
    "a small tensor": (
        b"\x3d" + bytes(7) + b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        "the tensors end at byte 73, the file at byte 214748364800",
    ),
}


@pytest.mark.parametrize(("start", "words"), SPARSE.values(), ids=SPARSE)
def test_a_sparse_file_ends_at_its_header(folder, reads, start, words):
    with open(folder / "model-00002-of-00002.safetensors", "wb") as file:
        file.write(start)
        file.truncate(200 * 2**30)
    with pytest.raises(CannotDecide, match=f"{words}.*; download or copy the file again"):
        digest.model_digest(folder)
    assert reads == []


def test_timing(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.safetensors").write_bytes(bytes(16_000_000))
    start = time.perf_counter()
    digest.tree(tmp_path, patterns=["*.safetensors"])
    read = time.perf_counter()
    digest.tree(tmp_path, patterns=["*.safetensors"])
    print(f"64 MB in 4 files: {read - start:.3f} s, remembered {time.perf_counter() - read:.4f} s")
