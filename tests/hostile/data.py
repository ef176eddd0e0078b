"""Training data: archives that expand, files that are code, rows that mislead."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.hostile.case import Case, Content, folder, pipe, sparse, spec, to

ROW = {"prompt": "What is it?", "completion": "A stone."}
GOOD = json.dumps(ROW) + "\n"


def init(file: str) -> str:
    return f"init {{demo}}/healthy --base {{demo}}/model --data {file} -o -"


def refused(name: str, words: str, content: Content, file: str = "train.jsonl") -> Case:
    return Case(name, init(file), 2, words, {file: content})


def read(name: str, words: str, content: Content, file: str = "train.jsonl") -> Case:
    return Case(name, init(file), 0, words, {file: content})


def row(**fields: object) -> str:
    return GOOD * 20 + json.dumps(ROW | fields) + "\n"


def bomb(size: int) -> bytes:
    """n MiB of zeros, which gzip packs to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size)) + packer.flush()


def parquet(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Parquet whose bytes are changed."""

    def make(path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW] * 9), path)
        path.write_bytes(change(path.read_bytes()))

    return make


CASES = [
    refused("empty", "train.jsonl", ""),
    refused("NUL characters", "binary data", b"\0" * 100),
    refused("not UTF-8", "not UTF-8", b'{"prompt": "\xff", "completion": "a"}\n'),
    refused("UTF-16", "UTF-16", GOOD.encode("utf-16")),
    refused("deep", "train.jsonl:1", '{"prompt": ' + "[" * 100_000 + "\n"),
    refused("deep and closed", "train.jsonl", '{"messages": ' + "[" * 5000 + "]" * 5000 + "}\n"),
    refused("deep document", "train.json", "[" * 200_000, "train.json"),
    refused("lone bracket", "train.json", "[", "train.json"),
    refused("number of 5000 digits", "train.jsonl", "9" * 5000 + "\n"),
    refused("pickle", "never loaded", b"\x80\x04cos\nsystem\n(S'touch ran'\ntR."),
    refused("pickle of version 0", "train.jsonl", b"cos\nsystem\n(S'touch ran'\ntR."),
    refused("zip", "compressed", b"PK\3\4" + bytes(50)),
    refused("database", "a database", b"SQLite format 3\0" + bytes(50)),
    refused("Git LFS pointer", "git lfs pull", "version https://git-lfs.github.com/spec/v1\n"),
    refused("damaged gzip", "cannot be unpacked", b"\x1f\x8b\x08\0" + b"x" * 50, "train.jsonl.gz"),
    refused("cut gzip", "cannot be unpacked", gzip.compress(GOOD.encode() * 99)[:-9], "t.jsonl.gz"),
    refused("gzip bomb of one line", "t.jsonl.gz", bomb(256), "t.jsonl.gz"),
    refused(
        "gzip in gzip", "t.jsonl.gz", gzip.compress(gzip.compress(GOOD.encode())), "t.jsonl.gz"
    ),
    refused("damaged zstd", "t.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"x" * 50, "t.jsonl.zst"),
    refused(
        "zstd of a window of 2 GB",
        "t.jsonl.zst",
        b"\x28\xb5\x2f\xfd\0\xa8" + b"\0" * 50,
        "t.jsonl.zst",
    ),
    refused("damaged Parquet", "t.parquet", b"PAR1" + b"x" * 50 + b"PAR1", "t.parquet"),
    refused(
        "Parquet with a huge footer", "t.parquet", b"PAR1" + b"\xff" * 4 + b"PAR1", "t.parquet"
    ),
    refused(
        "Parquet with damaged pages",
        "\\x0f Deserializing",
        parquet(lambda data: data[:4] + b"\x1f\n" * 8 + data[20:]),
        "t.parquet",
    ),
    refused(
        "Parquet whose statistics do not fit its schema",
        "histogram size mismatch",
        parquet(lambda data: data.replace(b"%\x02\x18\x06prompt", b"%\0\x18\x06prompt", 1)),
        "t.parquet",
    ),
    refused(
        "Parquet with a column's name that is not UTF-8",
        "not a readable Parquet",
        parquet(lambda data: data.replace(b"\x06prompt", b"\x06prom\xff\xff", 1)),
        "t.parquet",
    ),
    refused("damaged Arrow", "t.arrow", b"ARROW1\0\0" + b"\xff" * 50, "t.arrow"),
    refused("CSV of formulas without fields", "t.csv", "=cmd|'/c calc'!A1,b\n1,2\n", "t.csv"),
    refused("CSV of one giant cell", "t.csv", "prompt,completion\n" + "a" * (2 << 20), "t.csv"),
    refused("CSV of open quotes", "t.csv", 'prompt,completion\n"' + "a\n" * 1000, "t.csv"),
    refused("million columns", "t.csv", "a," * 500_000 + "\n" + "1," * 500_000 + "\n", "t.csv"),
    refused("rows that are numbers", "train.jsonl", "1\n2\n3\n"),
    refused("script", "not sufficient", "import os; os.system('touch ran')\n", "train.py"),
    refused("sparse 3 GB", "train.jsonl", sparse(3 * 10**9)),
    refused("pipe", "is not a regular file", pipe),
    refused("folder", "no data", folder, "rows"),
    refused("device", "is not a regular file", to("/dev/zero")),
    refused("link to itself", "cannot be read", to("train.jsonl")),
    refused("link to the secret", "train.jsonl", to(".git-credentials")),
    Case("the secret itself", init(".git-credentials"), 2, "a hidden file"),
    Case("name with an escape", init("'a\x1b[2J.jsonl'"), 2, "\\x1b"),
    Case("name with a workflow command", init("'\n::error::x.jsonl'"), 2, "no such file"),
    Case("name of 900 letters", init("a" * 900), 2, "File name too long"),
    Case("name that is an option", "init {demo}/healthy --data -o -", 2, "--data"),
    Case(
        "saved data set that is not UTF-8",
        init("rows"),
        2,
        "state.json is not valid",
        {"rows/state.json": b'{"_data_files": [{"filename": "\xff"}]}'},
    ),
    Case(
        "folder of links to itself",
        init("rows"),
        2,
        "rows",
        {"rows/a.jsonl": to("a.jsonl"), "rows/b": to(".")},
    ),
    Case("folder of pipes", init("rows"), 2, "rows", {"rows/a.jsonl": pipe}),
    Case(
        "document is a pipe",
        "run sway.yaml --dry-run",
        2,
        "notes.md",
        spec(more="data: notes.md\n") | {"notes.md": pipe},
    ),
    Case(
        "dlm with a tag",
        "run sway.yaml --dry-run",
        2,
        "t.dlm",
        spec(more="dlm_source: t.dlm\n")
        | {"t.dlm": "---\na: !!python/object/apply:os.system [touch ran]\n---\n# a\n"},
    ),
    Case(
        "dlm of deep front matter",
        "run sway.yaml --dry-run",
        2,
        "t.dlm",
        spec(more="dlm_source: t.dlm\n") | {"t.dlm": "---\na: " + "[" * 5000 + "\n---\n"},
    ),
    Case(
        "dlm of aliases",
        "run sway.yaml --dry-run",
        2,
        "t.dlm",
        spec(more="dlm_source: t.dlm\n") | {"t.dlm": "---\na: &a [1]\nb: [*a, *a]\n---\n"},
    ),
    Case("autogen of a pipe", "autogen t.dlm", 2, "t.dlm", {"t.dlm": pipe}),
    Case(
        "map of nothing",
        init("t.jsonl") + " --map prompt=__class__,answer=x",
        2,
        "t.jsonl",
        {"t.jsonl": GOOD},
    ),
    # rows that are read
    read("NaN in a row", "suite", row(score=float("nan"))),
    read("escape in a prompt", "suite", row(prompt="\x1b[2J\x1b]0;x\x07")),
    read("bidi override in a prompt", "suite", row(prompt="a\u202eb")),
    Case(
        "workflow command in a prompt",
        init("train.jsonl"),
        0,
        "suite",
        {"train.jsonl": row(prompt="\n::error::forged\n##[add-mask]x")},
    ),
    read(
        "lone surrogate in a prompt", "suite", row(prompt="\ud800").replace('"\ud800"', '"\\ud800"')
    ),
    read("template in a prompt", "suite", row(prompt="{{ ''.__class__ }}{% for x in y %}")),
    read("special tokens in a prompt", "suite", row(prompt="<|im_start|>system\n</s><s>")),
    read("YAML in a prompt", "suite", row(prompt="!!python/object:os.system {}\n- *a")),
    read("tool that is code", "suite", row(tools=[{"function": "__import__('os')"}])),
    read(
        "duplicate keys", "suite", GOOD * 20 + '{"prompt": "a", "prompt": "b", "completion": "c"}\n'
    ),
    read(
        "one row of 2 MB", "suite", GOOD * 40 + json.dumps(ROW | {"prompt": "a" * (2 << 20)}) + "\n"
    ),
    read("one bad row", "suite", GOOD * 40 + "\x1b[2J{\n"),
    read(
        "rows of one word",
        "suite",
        "".join(json.dumps(ROW | {"prompt": "a " * i}) + "\n" for i in range(1, 300)),
    ),
]
