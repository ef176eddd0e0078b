"""A file that is not what a reader expects is never quoted: it may contain secrets."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sway_gate import cli

SECRET = "hunter2"
SECRETS = {
    "git-credentials": f"https://me:{SECRET}@example.org\nhttps://{SECRET}@example.com\n",
    "netrc": f"machine example.org login {SECRET} password {SECRET}\n",
    "shadow": f"root:{SECRET}:20000:0:99999:7:::\n{SECRET}:*:20000:0:99999:7:::\n",
    "environment": f"TOKEN={SECRET}\nOTHER={SECRET}\n",
    "table": f"{SECRET}\n1\n2\n",
    "AWS": f"[default]\naws_secret_access_key = {SECRET}\n",
    "key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
    "YAML": f"{SECRET}: {SECRET}\nversion: 1\n",
    "alias": f"a: *{SECRET}\n",
    "tag": f"!{SECRET} x\n",
    "directive": f"%{SECRET} x\n",
    "list": f"- {SECRET}\n",
    "front matter": f"---\n{SECRET}: {SECRET}\n---\n{SECRET}\n",
    "JSON": json.dumps({"token": SECRET}),
    "JSON text": json.dumps(SECRET),
    "JSON list": json.dumps([SECRET]),
    "truncated JSON": f'{{"token": "{SECRET}',
    "quoted verdict": json.dumps({"schema_version": 1, "verdict": f"it's {SECRET}"}),
    "verdict": json.dumps({"schema_version": 1, "verdict": SECRET}),
}
READERS = {
    "spec": "gate secret",
    "spec of check": "run secret --dry-run",
    "document": "autogen secret.dlm",
    "rows": "check lora --base base --data secret.jsonl",
    "JSON": "check lora --base base --data secret.json",
    "table": "check lora --base base --data secret.csv",
    "Parquet": "check lora --base base --data secret.parquet",
    "Arrow": "check lora --base base --data secret.arrow",
    "config": "static other",
    "config of check": "check other",
    "report": "report secret",
    "comparison": "compare secret secret",
    "baseline": "gate demo/healthy.sway.yaml --baseline secret",
    "trace": "trace secret",
    "document of a spec": "gate document.yaml",
    "waivers": "gate waived/sway.yaml --dry-run",
    "history": "report --history secret",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("secrets")
    shutil.copytree(Path(cli.__file__).parent / "demo", folder / "demo")
    shutil.copytree(folder / "demo/healthy", folder / "lora")
    shutil.copytree(folder / "demo/healthy", folder / "other")
    shutil.copytree(folder / "demo/model", folder / "base")
    (folder / "other/adapter_config.json").unlink()
    (folder / "other/adapter_config.json").symlink_to(folder / "secret")
    for name in ("secret.dlm", "secret.jsonl", "secret.json", "secret.csv", "secret.parquet"):
        (folder / name).symlink_to("secret")
    (folder / "secret.arrow").symlink_to("secret")
    (folder / "waived").mkdir()
    shutil.copy(folder / "demo/healthy.sway.yaml", folder / "waived/sway.yaml")
    (folder / "waived/.sway-waivers.yaml").symlink_to(folder / "secret")
    spec = yaml.safe_load((folder / "demo/healthy.sway.yaml").read_bytes())
    spec["models"] = {"base": {"base": "./base"}, "ft": {"base": "./base", "adapter": "./lora"}}
    spec = {key: spec[key] for key in ("models", "suite")} | {"dlm_source": "secret.dlm"}
    (folder / "document.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return folder


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_reader_quotes_a_file_that_it_cannot_read(
    folder: Path, monkeypatch: Any, capsys: Any, reader: str, secret: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "secret").write_text(secret, encoding="utf-8")
    assert cli.main(reader.split()) == 2
    out, err = capsys.readouterr()
    assert (out + err).strip()
    assert SECRET not in out + err


@pytest.mark.parametrize("name", [".git-credentials", ".env"])
def test_a_hidden_file_is_not_data(folder: Path, monkeypatch: Any, capsys: Any, name: str) -> None:
    monkeypatch.chdir(folder)
    (folder / name).write_text(f"{SECRET} " * 40, encoding="utf-8")
    (folder / "notes.txt").unlink(missing_ok=True)
    (folder / "notes.txt").symlink_to(name)
    assert cli.main(["check", "lora", "--base", "base", "--data", "notes.txt"]) == 2
    out, err = capsys.readouterr()
    assert "notes.txt: is a hidden file" in err
    assert SECRET not in out + err
