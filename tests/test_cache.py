"""The cache: round trips, parallel processes, damaged and unavailable stores."""

import errno
import hashlib
import hmac
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from sway_gate import cache
from sway_gate.cache import Readings
from tests.helpers.processes import modules_after

KEY = cache.verdict_key({"adapter": "a", "limits": [1, 2]})
CONTEXT = cache.context_key({"adapter": "a", "device": "cpu"})
NUMBERS = np.array([0.1, -0.0, np.pi, np.inf, 5e-324])

needs_posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and links are POSIX's")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """The cache folder, not created yet."""
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SWAY_CACHE_KEY", raising=False)
    cache._prune_once.cache_clear()
    return tmp_path / "cache"


def saved(context: str = CONTEXT, **readings: float) -> Readings:
    """Readings of the view "finetuned" by request, saved in one file."""
    new = Readings.open(context)
    for request, value in readings.items():
        new.put("finetuned", request, np.array([value]))
    new.save()
    return new


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path.name != "key")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(
            {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}, True, id="order"
        ),
        pytest.param({"a": (1, 2)}, {"a": [1, 2]}, True, id="tuple and list"),
        pytest.param({"a": 1}, {"a": 2}, False, id="value"),
        pytest.param({"a": 1}, {"a": 1.0}, False, id="integer and float"),
        pytest.param({"a": "1"}, {"a": 1}, False, id="text and number"),
        pytest.param({"ab": "c"}, {"a": "bc"}, False, id="boundary"),
        pytest.param({"a": None}, {}, False, id="none and missing"),
    ],
)
@pytest.mark.parametrize("key", [cache.verdict_key, cache.context_key])
def test_key(key, one, other, same):
    assert (key(one) == key(other)) is same


def test_keys_of_verdicts_and_contexts_differ():
    assert cache.verdict_key({"a": 1}) != cache.context_key({"a": 1})


@pytest.mark.parametrize(
    "data", [b"", b"{}", bytes(range(256)) * 4096], ids=["empty", "json", "1 MiB"]
)
def test_verdict_roundtrip(data):
    assert cache.load_verdict(KEY) is None
    assert cache.store_verdict(KEY, data)
    assert cache.load_verdict(KEY) == data


def test_verdict_is_replaced():
    assert cache.store_verdict(KEY, b"old")
    assert cache.store_verdict(KEY, b"new")
    assert cache.load_verdict(KEY) == b"new"


@pytest.mark.parametrize("key", ["", "../../etc/passwd", KEY.upper(), KEY + "/x", KEY + "\n"])
def test_only_keys_name_entries(key):
    with pytest.raises(ValueError, match="not the name of a cache entry"):
        cache.store_verdict(key, b"")


def test_readings_roundtrip_bit_for_bit():
    readings = Readings.open(CONTEXT)
    readings.put("finetuned", "a request", NUMBERS)
    assert readings.save()
    got = Readings.open(CONTEXT).get("finetuned", "a request")
    assert got is not None
    assert got.tobytes() == NUMBERS.tobytes()
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("view", "request_key"),
    [("null 1", "q"), ("finetuned", "other"), ("finetunedq", ""), ("", "finetunedq")],
)
def test_readings_of_another_view_or_request(view, request_key):
    assert saved(q=1.0).get(view, request_key) is None


def test_readings_of_another_context():
    saved(q=1.0)
    assert len(Readings.open(cache.context_key({"adapter": "b"}))) == 0


def test_readings_take_any_text():
    readings = Readings.open(CONTEXT)
    readings.put("base", "\ud800 \0 é", NUMBERS)
    assert readings.get("base", "\ud800 \0 é") is not None


def test_unsaved_readings_are_not_kept():
    Readings.open(CONTEXT).put("base", "q", NUMBERS)
    assert Readings.open(CONTEXT).get("base", "q") is None


def test_save_writes_only_new_values(root):
    readings = saved(a=1.0)
    assert readings.save()
    assert len(entries(root)) == 1
    readings.put("finetuned", "b", np.array([2.0]))
    assert readings.save()
    assert len(entries(root)) == 2
    assert len(Readings.open(CONTEXT)) == 2


def test_meta_is_kept_and_the_newer_counts():
    for device in ("cpu", "cuda"):
        readings = Readings.open(CONTEXT)
        readings.meta["device"] = device
        assert readings.save()
        time.sleep(0.02)  # files are ordered by modification time
    assert Readings.open(CONTEXT).meta == {"device": "cuda"}


def test_many_files_become_one(root):
    for i in range(cache.MAX_FILES + 1):
        saved(**{f"q{i}": float(i)})
    assert len(entries(root)) == 1
    merged = Readings.open(CONTEXT)
    assert [merged.get("finetuned", f"q{i}") for i in range(cache.MAX_FILES + 1)] == list(
        range(cache.MAX_FILES + 1)
    )


def test_readings_merged_by_another_process_meanwhile(monkeypatch):
    saved(a=1.0)
    saved(b=2.0)
    real = cache._load_batch

    def merge_then_load(name: str) -> object:
        monkeypatch.setattr(cache, "_load_batch", real)
        cache._compact(CONTEXT)
        return real(name)

    monkeypatch.setattr(cache, "_load_batch", merge_then_load)
    assert len(Readings.open(CONTEXT)) == 2


def test_merging_what_another_process_has_merged_keeps_it(root):
    saved(a=1.0)
    saved(b=2.0)
    cache._store_batch(CONTEXT, cache._merged(CONTEXT)[0])
    cache._compact(CONTEXT)
    assert len(entries(root)) == 1
    assert len(Readings.open(CONTEXT)) == 2


DAMAGE = {
    "empty": lambda frame: b"",
    "header only": lambda frame: frame[:50],
    "truncated": lambda frame: frame[:-1],
    "longer": lambda frame: frame + b"\0",
    "one bit": lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
    "another format": lambda frame: b"S" + frame[1:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_verdict_is_a_miss_and_goes(root, damage):
    cache.store_verdict(KEY, b"report")
    [entry] = entries(root)
    entry.write_bytes(damage(entry.read_bytes()))
    assert cache.load_verdict(KEY) is None
    assert not entry.exists()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_readings_leave_the_others(root, damage):
    saved(a=1.0)
    [entry] = entries(root)
    saved(b=2.0)
    entry.write_bytes(damage(entry.read_bytes()))
    assert len(Readings.open(CONTEXT)) == 1
    assert saved(c=3.0).get("finetuned", "b") == 2.0


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x93\x01\x02\x03",
        b"\x82\xa4meta\x80\xa6values\x81\xa1k\xc4\x03abc",
        b"\x91" * 100_000,
    ],
    ids=["empty", "list", "no float64", "deep"],
)
def test_whole_entry_of_other_content_is_a_miss(payload):
    cache.store_entry(f"readings/{CONTEXT}/{'0' * 64}", payload)
    assert len(Readings.open(CONTEXT)) == 0


def test_entry_beyond_the_bound_is_refused(root, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 1000)
    assert not cache.store_verdict(KEY, bytes(1001))
    cache.store_verdict(KEY, b"")
    [entry] = entries(root)
    entry.write_bytes(bytes(2000))
    assert cache.load_verdict(KEY) is None


def framed(data: bytes, code: bytes) -> bytes:
    return cache._MAGIC + code + data


def hmac_with(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, f"verdicts/{KEY}\0".encode() + data, "sha256")


FORGED = b"PASS"
FORGERIES = {
    "sha256 of the content": framed(FORGED, hashlib.sha256(FORGED).digest()),
    "the former format": b"sway-gate cache 1\n" + hashlib.sha256(FORGED).digest() + FORGED,
    "an empty key": framed(FORGED, hmac_with(b"", FORGED)),
    "another key": framed(FORGED, hmac_with(bytes(32), FORGED)),
    "no code": framed(FORGED, b""),
}


@pytest.mark.parametrize("frame", FORGERIES.values(), ids=FORGERIES)
def test_forged_verdict_is_a_miss(root, frame):
    cache.store_verdict(KEY, b"FAIL")
    (root / "verdicts" / KEY).write_bytes(frame)
    assert cache.load_verdict(KEY) is None
    assert cache.store_verdict(KEY, b"FAIL")


def test_verdict_of_another_key_is_a_miss(root):
    """A PASS that is authentic for one adapter does not serve another one."""
    other = cache.verdict_key({"adapter": "b"})
    cache.store_verdict(KEY, b"PASS")
    shutil.copy(root / "verdicts" / KEY, root / "verdicts" / other)
    assert cache.load_verdict(other) is None


def test_a_cache_of_another_machine_is_a_miss(root, tmp_path, monkeypatch):
    cache.store_verdict(KEY, b"PASS")
    shutil.copytree(root / "verdicts", tmp_path / "other" / "verdicts")
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path / "other"))
    assert cache.load_verdict(KEY) is None
    assert cache.store_verdict(KEY, b"FAIL")
    assert cache.load_verdict(KEY) == b"FAIL"


def test_a_key_from_the_environment_serves_several_machines(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SWAY_CACHE_KEY", "a secret of the repository")
    cache.store_verdict(KEY, b"PASS")
    assert not (root / "key").exists()
    moved = root.rename(tmp_path / "restored")
    monkeypatch.setenv("SWAY_CACHE_DIR", str(moved))
    assert cache.load_verdict(KEY) == b"PASS"
    monkeypatch.setenv("SWAY_CACHE_KEY", "the secret of a stranger")
    assert cache.load_verdict(KEY) is None


def test_a_key_that_the_cache_brings_does_not_replace_the_environments(root, monkeypatch):
    cache.store_verdict(KEY, b"PASS")
    monkeypatch.setenv("SWAY_CACHE_KEY", "a secret of the repository")
    assert cache.load_verdict(KEY) is None


def test_a_short_key_is_refused(monkeypatch):
    monkeypatch.setenv("SWAY_CACHE_KEY", "secret")
    assert "SWAY_CACHE_KEY has fewer than 16 characters" in cache.refusal()
    assert not cache.store_verdict(KEY, b"PASS")


@needs_posix
def test_the_key_is_private_and_stays(root):
    cache.store_verdict(KEY, b"PASS")
    key = (root / "key").read_bytes()
    assert ((root / "key").stat().st_mode & 0o777, len(key)) == (0o600, 32)
    cache.store_verdict(KEY, b"FAIL")
    assert (root / "key").read_bytes() == key


def linked(key: Path) -> None:
    key.rename(key.with_name("elsewhere"))
    key.symlink_to(key.with_name("elsewhere"))


def piped(key: Path) -> None:
    key.unlink()
    os.mkfifo(key)


BAD_KEYS = {
    "readable by all": lambda key: key.chmod(0o644),
    "writable by the group": lambda key: key.chmod(0o620),
    "empty": lambda key: key.write_bytes(b""),
    "too long": lambda key: key.write_bytes(bytes(33)),
    "link": linked,
    "pipe": piped,
    "folder": lambda key: (key.unlink(), key.mkdir()),
}


@needs_posix
@pytest.mark.parametrize("spoil", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_others_may_know_is_not_used(root, spoil):
    cache.store_verdict(KEY, b"PASS")
    spoil(root / "key")
    assert cache.load_verdict(KEY) is None
    assert not cache.store_verdict(KEY, b"PASS")
    assert f"{root / 'key'} must be a file of 32 bytes" in cache.refusal()


@needs_posix
def test_a_key_of_another_user_is_not_used(root, monkeypatch):
    cache.store_verdict(KEY, b"PASS")
    give_away(root / "key", monkeypatch)
    assert cache.load_verdict(KEY) is None


WORK_TREES = {
    "repository": lambda root: (root.parent / ".git").mkdir(),
    "worktree or submodule": lambda root: (root.parent / ".git").write_text("gitdir: elsewhere"),
    "the cache itself": lambda root: (root / ".git").mkdir(),
    "broken link": lambda root: (root.parent / ".git").symlink_to("nowhere"),
}


@pytest.mark.parametrize("make", WORK_TREES.values(), ids=WORK_TREES)
def test_a_cache_in_a_work_tree_is_refused(root, make):
    cache.store_verdict(KEY, b"PASS")
    make(root)
    assert cache.load_verdict(KEY) is None
    assert len(Readings.open(CONTEXT)) == 0
    assert not cache.store_verdict(KEY, b"PASS")
    assert "a checkout can write into the git work tree" in cache.refusal()


def test_a_link_into_a_work_tree_is_refused(root, tmp_path):
    (tmp_path / "checkout" / ".git").mkdir(parents=True)
    root.symlink_to(tmp_path / "checkout")
    assert not cache.store_verdict(KEY, b"PASS")


def test_a_work_tree_is_refused_with_a_key_of_the_environment_too(root, monkeypatch):
    monkeypatch.setenv("SWAY_CACHE_KEY", "a secret of the repository")
    (root.parent / ".git").mkdir()
    assert not cache.store_verdict(KEY, b"PASS")


def out_of_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def forbid_writing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("modes do not bind root, nor anyone outside POSIX")
    root.mkdir(mode=0o500)


NO_STORE = {
    "file in the way": lambda root, _: root.write_bytes(b"mine"),
    "below a file": lambda root, monkeypatch: monkeypatch.setenv(
        "SWAY_CACHE_DIR", f"{__file__}/cache"
    ),
    "full": lambda _, monkeypatch: monkeypatch.setattr(os, "replace", out_of_space),
    "read-only": forbid_writing,
}


@pytest.mark.parametrize("prepare", NO_STORE.values(), ids=NO_STORE)
def test_an_unavailable_cache_is_not_an_error(root, monkeypatch, prepare):
    prepare(root, monkeypatch)
    readings = Readings.open(CONTEXT)
    readings.put("base", "q", NUMBERS)
    assert not readings.save()
    assert not cache.store_verdict(KEY, b"report")
    assert cache.load_verdict(KEY) is None
    assert readings.get("base", "q") is not None
    assert cache.size() == cache.clear() == (0, 0)


def test_failed_write_leaves_nothing_behind(root, monkeypatch):
    monkeypatch.setattr(os, "replace", out_of_space)
    assert not cache.store_verdict(KEY, b"report")
    assert entries(root) == []


@needs_posix
def test_modes_are_private(root):
    cache.store_verdict(KEY, b"report")
    modes = {path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert [path.stat().st_mode & 0o777 for path in entries(root)] == [0o600]


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` (the link itself, if it is one) look like another user's."""
    if os.geteuid() == 0:
        os.lchown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.lstat().st_uid + 1)


@needs_posix
@pytest.mark.parametrize("folder", ["", "verdicts"])
def test_folder_of_another_user_is_not_used(root, monkeypatch, folder):
    cache.store_verdict(KEY, b"report")
    give_away(root / folder, monkeypatch)
    assert cache.load_verdict(KEY) is None
    assert not cache.store_verdict(KEY, b"other")


@needs_posix
def test_linked_folder_of_the_store_is_not_used(root, tmp_path):
    (victim := tmp_path / "victim").mkdir()
    root.mkdir()
    (root / "verdicts").symlink_to(victim)
    assert not cache.store_verdict(KEY, b"report")
    assert not list(victim.iterdir())


@needs_posix
def test_link_of_another_user_to_my_folder_is_not_used(root, tmp_path, monkeypatch):
    (victim := tmp_path / "victim").mkdir()
    root.symlink_to(victim)
    give_away(root, monkeypatch)
    assert not cache.store_verdict(KEY, b"report")
    assert not list(victim.iterdir())


@needs_posix
def test_my_own_link_to_the_cache_folder_is_used(root, tmp_path):
    (elsewhere := tmp_path / "elsewhere").mkdir()
    root.symlink_to(elsewhere)
    assert cache.store_verdict(KEY, b"report")
    assert entries(elsewhere)


@needs_posix
def test_linked_entry_is_replaced_not_followed(root, tmp_path):
    (victim := tmp_path / "victim").write_bytes(b"precious")
    (root / "verdicts").mkdir(parents=True)
    (root / "verdicts" / KEY).symlink_to(victim)
    assert cache.store_verdict(KEY, b"report")
    assert cache.load_verdict(KEY) == b"report"
    assert victim.read_bytes() == b"precious"


def test_size_counts_entries(root):
    assert cache.size() == (0, 0)
    cache.store_verdict(KEY, bytes(100))
    saved(a=1.0)
    assert cache.size() == (2, sum(path.stat().st_size for path in entries(root)))


def test_clear_leaves_foreign_files(root):
    cache.store_verdict(KEY, b"report")
    saved(a=1.0)
    foreign = [
        root / "notes.txt",
        root / "verdicts" / "mine.json",
        root / "readings" / "deep" / KEY,
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    assert cache.clear()[0] == 2
    assert entries(root) == sorted(foreign)


def test_clear_leaves_only_the_cache_folder(root):
    cache.store_verdict(KEY, b"report")
    saved(a=1.0)
    before = cache.size()
    assert cache.clear() == before
    assert list(root.iterdir()) == [root / "key"]


def test_oldest_entries_are_pruned_once(root, monkeypatch):
    keys = [cache.verdict_key({"i": i}) for i in range(4)]
    for age, key in enumerate(keys[:3]):
        cache.store_verdict(key, bytes(1000))
        os.utime(root / "verdicts" / key, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(cache, "MAX_BYTES", 2500)
    cache._prune_once.cache_clear()
    cache.store_verdict(keys[3], bytes(1000))
    assert [cache.load_verdict(key) is not None for key in keys] == [True, False, False, True]


def test_temporary_files_of_killed_processes_go(root):
    cache.store_verdict(KEY, b"report")
    saved(a=1.0)
    [reading, verdict] = entries(root)
    left = {
        age: [path.with_name(f"{path.name}.{age * 16}.tmp") for path in (reading, verdict)]
        for age in ("a", "b")
    }
    for age, paths in left.items():
        for path in paths:
            path.write_bytes(b"part")
            if age == "a":
                os.utime(path, (1e9, 1e9))
    foreign = root / "verdicts" / "mine.tmp"
    foreign.write_bytes(b"mine")
    os.utime(foreign, (1e9, 1e9))
    cache._prune_once.cache_clear()
    cache.store_verdict(KEY, b"report")
    assert entries(root) == sorted([reading, verdict, foreign, *left["b"]])


def killed(root: Path) -> None:
    """Write entries until this process is killed."""
    while True:
        cache.store_verdict(KEY, os.urandom(1_000_000))


@needs_posix
def test_a_killed_process_leaves_no_damaged_entry(root):
    cache.store_verdict(KEY, b"report")
    spawn = multiprocessing.get_context("spawn")
    for wait in (0.0, 0.05, 0.2):
        process = spawn.Process(target=killed, args=(root,))
        process.start()
        changed = (root / "verdicts" / KEY).stat().st_mtime_ns
        while (root / "verdicts" / KEY).stat().st_mtime_ns == changed:
            time.sleep(0.01)  # until it has started
        time.sleep(wait)
        process.kill()
        process.join()
        assert cache.load_verdict(KEY) is not None


WRITERS, SAVES, PER_SAVE = 4, 8, 5


def write_readings(writer: int) -> None:
    for i in range(SAVES):
        readings = Readings.open(CONTEXT)
        for j in range(PER_SAVE):
            readings.put(f"null {writer}", f"{i} {j}", np.array([writer, i, j]))
        assert readings.save()
        assert cache.store_verdict(KEY, b"%d" % writer * 100_000)


def read_readings(reader: int) -> None:
    for _ in range(50):
        Readings.open(CONTEXT)
        assert (report := cache.load_verdict(KEY)) is None or len(set(report)) == 1


def test_parallel_processes_lose_nothing():
    spawn = multiprocessing.get_context("spawn")
    jobs = [*[(write_readings, i) for i in range(WRITERS)], *[(read_readings, i) for i in range(2)]]
    processes = [spawn.Process(target=job, args=(i,)) for job, i in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    merged = Readings.open(CONTEXT)
    assert len(merged) == WRITERS * SAVES * PER_SAVE
    assert np.array_equal(merged.get("null 3", "7 4"), [3, 7, 4])


def test_import_is_light():
    loaded = modules_after("import sway_gate.cache, sway_gate.model_files.digest")
    assert {"numpy", "torch"}.isdisjoint(loaded)


def test_timing():
    readings = Readings.open(CONTEXT)
    start = time.perf_counter()
    for i in range(10_000):
        readings.put("finetuned", f"request {i}", NUMBERS)
    put, _ = time.perf_counter(), readings.save()
    saved_at, _ = time.perf_counter(), Readings.open(CONTEXT)
    print(f"10000 readings: put {put - start:.3f} s, save {saved_at - put:.3f} s, ", end="")
    print(f"open {time.perf_counter() - saved_at:.3f} s")
