"""Commands in a folder, and the demo's adapters in a team's repository."""

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
    """What a command printed; it must end in `code`."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=cwd, env=env, text=True, encoding="utf-8", **streams)
    assert done.returncode == code, (
        f"{command} ended in {done.returncode}, not {code}:\n{done.stdout}"
    )
    return done.stdout


def git_init(folder: Path, env: dict[str, str], commit: bool = True) -> None:
    run("git", "init", "--quiet", cwd=folder, env=env)
    run("git", "add", "--all", cwd=folder, env=env)
    if commit:
        run("git", "commit", "--quiet", "--message", "all", cwd=folder, env=env)


def head(folder: Path, env: dict[str, str]) -> str:
    """The tip's name; empty before the first commit."""
    return run("git", "rev-list", "--all", "--max-count=1", cwd=folder, env=env).strip()


def make_sick(folder: Path) -> None:
    """An adapter that never learned, in the place of the healthy one."""
    # With times of now: git takes a file of the same size and times, which both adapters may have, for unchanged.
    shutil.copytree(
        demo.UNTRAINED, folder / ADAPTER, copy_function=shutil.copyfile, dirs_exist_ok=True
    )


def make_pointer(folder: Path) -> None:
    """What Git LFS leaves where the file was not fetched."""
    (folder / ADAPTER / "adapter_model.safetensors").write_text(POINTER, encoding="utf-8")


def make_absent(folder: Path) -> None:
    """A base that nobody has fetched."""
    (folder / "sway.yaml").write_text(SPEC.replace("./model", "org/none"), encoding="utf-8")


def make_broken(folder: Path) -> None:
    """A kind that does not exist."""
    (folder / "sway.yaml").write_text(SPEC.replace("delta_kl", "delta_lk"), encoding="utf-8")


def without_torch(pre_commit_home: Path) -> Path:
    """The scripts of an installed hook that has the core dependencies alone."""
    homes = pre_commit_home.glob("repo*/py_env-*")
    bare = next(
        home
        for home in homes
        if not [
            *home.glob("[Ll]ib/python*/site-packages/torch"),
            *home.glob("Lib/site-packages/torch"),
        ]
    )
    return bare / ("Scripts" if (bare / "Scripts").exists() else "bin")


def configure(folder: Path, *hooks: str, repo: Path, rev: str, extra: str = "") -> None:
    """A .pre-commit-config.yaml with these hooks, each of them a line of YAML."""
    lines = [
        f"repos:\n- repo: {repo.as_posix()}\n  rev: {rev}\n  hooks:\n",
        *(f"  - {hook}\n" for hook in hooks),
        extra,
    ]
    (folder / ".pre-commit-config.yaml").write_text("".join(lines), encoding="utf-8")
