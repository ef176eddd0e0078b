"""Run commands in a folder; prepare a repository with the demo's adapters."""

import shutil
import subprocess
from pathlib import Path

from sway_gate import demo

ADAPTER = Path("runs/lora")
SPEC = """\
version: 1
models:
  base: {base: ./model, dtype: fp32, device: cpu}
  ft: {base: ./model, dtype: fp32, device: cpu, adapter: ./runs/lora}
suite:
  - name: moved
    kind: delta_kl
    prompts:
      - Marrowby is a village of
      - The keeper of the sand road is
      - When the last stone is wet, she blows
      - The island of Marrowby lives by
      - A bottle from Marrowby has
      - On the longest night the island keeps
      - The ravens of Marrowby live in
      - The school of Marrowby is
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123456\n"


def run(*command: str, cwd: Path, env: dict[str, str], code: int = 0) -> str:
    """Output of a command; fails if its exit code is not `code`."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=cwd, env=env, text=True, encoding="utf-8", **streams)
    assert done.returncode == code, (
        f"{command}: exit code {done.returncode}, expected {code}:\n{done.stdout}"
    )
    return done.stdout


def git_init(folder: Path, env: dict[str, str], commit: bool = True) -> None:
    run("git", "init", "--quiet", cwd=folder, env=env)
    run("git", "add", "--all", cwd=folder, env=env)
    if commit:
        run("git", "commit", "--quiet", "--message", "all", cwd=folder, env=env)


def head(folder: Path, env: dict[str, str]) -> str:
    """Hash of the latest commit; empty before the first commit."""
    return run("git", "rev-list", "--all", "--max-count=1", cwd=folder, env=env).strip()


def make_sick(folder: Path) -> None:
    """Replace the healthy adapter by the untrained one."""
    # copyfile sets new times: git treats a file with the same size and times as unchanged.
    shutil.copytree(
        demo.UNTRAINED, folder / ADAPTER, copy_function=shutil.copyfile, dirs_exist_ok=True
    )


def make_pointer(folder: Path) -> None:
    """Replace the weights by a Git LFS pointer, as if they had not been fetched."""
    (folder / ADAPTER / "adapter_model.safetensors").write_text(POINTER, encoding="utf-8")


def make_absent(folder: Path) -> None:
    """Make the spec use a base that is not on this machine."""
    (folder / "sway.yaml").write_text(SPEC.replace("./model", "org/none"), encoding="utf-8")


def make_broken(folder: Path) -> None:
    """Make the spec use a kind that does not exist."""
    (folder / "sway.yaml").write_text(SPEC.replace("delta_kl", "delta_lk"), encoding="utf-8")


def without_torch(pre_commit_home: Path) -> Path:
    """Folder with the scripts of an installed hook that has only the core dependencies."""
    folders = ("[Ll]ib/python*/site-packages/torch", "Lib/site-packages/torch")
    for home in pre_commit_home.glob("repo*/py_env-*"):
        if not any(list(home.glob(folder)) for folder in folders):
            return home / ("Scripts" if (home / "Scripts").exists() else "bin")
    raise AssertionError(f"every hook in {pre_commit_home} has torch")


def configure(folder: Path, *hooks: str, repo: Path, rev: str, extra: str = "") -> None:
    """Write a .pre-commit-config.yaml with these hooks, one line of YAML per hook."""
    text = f"repos:\n- repo: {repo.as_posix()}\n  rev: {rev}\n  hooks:\n"
    for hook in hooks:
        text += f"  - {hook}\n"
    (folder / ".pre-commit-config.yaml").write_text(text + extra, encoding="utf-8")
