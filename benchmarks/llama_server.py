"""Runs the server of llama-cpp-python, which gives the log-probabilities of a prompt."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def running(python: str, *options: str) -> Iterator[str]:
    """The address of the server, which ends with the block.

    `python`: the Python of an environment with `llama-cpp-python[server]`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--port", str(port), "--logits_all", "true"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/v1"
        _wait_for(f"{address}/models", process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"{url} does not answer")
