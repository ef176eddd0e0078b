"""Workers as Ray actors: the only module that imports Ray.

Ray's own processes trust each other: they exchange pickles. Without an address they listen on this
machine only, and require a token that only they know.
"""

import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from sway_gate import errors
from sway_gate.errors import CannotDecide, Terminated, UsageError, is_out_of_memory
from sway_gate.fleet.driver import Answered, Event, Lost, Ready
from sway_gate.fleet.plan import Need
from sway_gate.fleet.worker import Worker
from sway_gate.text import counted, cut, one_line
from sway_gate.version import __version__

_OBJECT_STORE_BYTES: Final = 100 * 2**20
"""For reports only; Ray would reserve a third of the memory."""
_CONNECT_S: Final = 10
_STARTS: Final = 3
_REMEDY: Final = "run fewer workers (raise --cpus), or use a larger machine"
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
_LOCAL: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # uses 127.0.0.1, on Linux too
    "RAY_worker_niceness": "0",  # a worker is as fast as `sway gate`
}


class _Actor(Worker):
    """A worker that names its machine."""

    def node(self) -> str:
        import ray

        return str(ray.util.get_node_ip_address())


class RayPool:
    """The machines of a running Ray. Each worker takes `cpus` CPUs, and a GPU if it can use one."""

    def __init__(self, cpus: int) -> None:
        import ray

        self._ray: Any = ray
        self._class = ray.remote(_Actor)
        self._cpus, self._count = cpus, 0
        self._actors: dict[int, Any] = {}
        self._refs: dict[Any, tuple[int, type[Ready] | type[Answered]]] = {}

    @property
    def places(self) -> int:
        """The number of workers whose CPUs fit on all machines."""
        return max(1, sum(int(node.get("CPU", 0) // self._cpus) for node in self._nodes()))

    def refusal(self, need: Need) -> str:
        """Why no machine can hold such a worker; "" if one can."""
        wanted = self._resources(need)
        for node in self._nodes():
            if all(node.get(name, 0) >= amount for name, amount in wanted.items()):
                return ""
        memory = f", {wanted['memory'] / 1e9:.1f} GB of memory" if "memory" in wanted else ""
        gpu = ", a GPU" if "GPU" in wanted else ""
        return f"no machine has {counted(self._cpus, 'CPU')}{memory}{gpu} for a worker; add one"

    def start(self, need: Need) -> int:
        """Start a worker as soon as a machine has room. Returns its number."""
        wanted = self._resources(need)
        options = self._class.options(
            num_cpus=wanted["CPU"],
            num_gpus=wanted.get("GPU", 0),
            memory=wanted.get("memory"),
            max_restarts=0,
        )
        self._count += 1
        actor = options.remote(__version__, self._cpus)
        self._actors[self._count] = actor
        self._refs[actor.node.remote()] = self._count, Ready
        return self._count

    def send(self, worker: int, task: bytes) -> None:
        """Give a task to a worker that is ready and idle."""
        self._refs[self._actors[worker].judge.remote(task)] = worker, Answered

    def events(self, seconds: float) -> Iterator[Event]:
        """What has happened; waits up to `seconds` for it."""
        refs = list(self._refs)
        done, _ = self._ray.wait(refs, num_returns=1, timeout=seconds) if refs else ([], [])
        for ref in done:
            worker, make = self._refs.pop(ref)
            try:
                yield make(worker, self._ray.get(ref))
            except self._ray.exceptions.RayError as error:
                yield Lost(worker, reason_of_loss(error))

    def stop(self, worker: int) -> None:
        """End a worker, also while it measures."""
        actor = self._actors.pop(worker)
        self._refs = {ref: found for ref, found in self._refs.items() if found[0] != worker}
        with suppress(self._ray.exceptions.RayError):  # it has ended
            self._ray.kill(actor)

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _resources(self, need: Need) -> dict[str, float]:
        kind = need.device.partition(":")[0]
        has_gpu = any(node.get("GPU") for node in self._nodes())
        if kind == "cuda" or (kind == "auto" and has_gpu):
            return {"CPU": self._cpus, "GPU": 1}
        memory = {"memory": float(need.memory_bytes)} if need.memory_bytes else {}
        return {"CPU": self._cpus, **memory}


def reason_of_loss(error: Exception) -> str:
    """Why a worker ended, from the message of Ray."""
    if is_out_of_memory(error):
        return f"out of memory; {_REMEDY}"
    if "OOM killer" in str(error):  # the first of the causes that Ray guesses
        return f"its process ended, probably out of memory; {_REMEDY}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(f"{errors.__name__}.")]
    found = causes[-1].partition(": ")[2] if causes else lines[-1] if lines else ""
    return cut(one_line(found or type(error).__name__), 300)


@contextmanager
def ray_pool(address: str | None, cpus: int) -> Iterator[RayPool]:
    """The machines of the cluster at `address`, or this machine. Ends all workers afterwards.

    Raises UsageError if Ray is missing, CannotDecide if it does not start or the cluster cannot be
    reached.
    """
    own = {} if address else {**_LOCAL, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with _environment({**_QUIET, **own}), _folder() as folder:
        try:
            import ray
        except ImportError:
            raise UsageError(
                "sway fleet needs Ray; install the extra: pip install 'sway-gate[ray]'"
            ) from None
        handler = signal.getsignal(signal.SIGTERM)
        end: Callable[[], None] = ray.shutdown
        try:
            if address:
                _connect(address)
            else:
                _start(os.path.join(folder, "ray"))  # Ray lets everybody read and write it
            signal.signal(signal.SIGTERM, handler)  # Ray's ends the process without its cleanup
            yield RayPool(cpus)
        except (KeyboardInterrupt, SystemExit) as stop:
            # Ray takes longer to end than the process is given.
            end = partial(_end_processes, folder)
            # While Ray starts, it has its own handler of SIGTERM.
            if isinstance(stop, SystemExit):
                raise Terminated from None
            raise
        finally:
            end()


def _connect(address: str) -> None:
    """Connect to a cluster, for which Ray waits a minute. Raises CannotDecide."""
    try:
        _check_reachable(address)
        _init(address=address)
    except Exception as error:
        raise CannotDecide(
            f"--ray {address}: Ray does not answer: {_message(error)}; see docs/fleet.md"
        ) from None


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host:  # Ray finds "auto" itself
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()


def _start(folder: str) -> None:
    """Start Ray on this machine, with its files in `folder`. Raises CannotDecide.

    A busy machine needs several tries: Ray gives up if its processes do not start in 30 seconds,
    and leaves them running.
    """
    import ray

    reason = ""
    for _ in range(_STARTS):
        try:
            return _init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=folder,
            )
        except Exception as error:
            _end_processes(folder)
            ray.shutdown()
            reason = _message(error)
    raise CannotDecide(
        f"Ray did not start on this machine: {reason}; close other programs and try again"
    )


def _init(**options: Any) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # its reports of a slow start are pages
    ray.init(**options, log_to_driver=False, configure_logging=False)


def _message(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return cut(one_line(text), 300)


def _end_processes(folder: str) -> None:
    """Kill the processes of a Ray on this machine whose files are in `folder`.

    If the start fails, they include orphans, which would create the folder again.
    """
    import psutil

    own = []
    for found in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if any(folder in word for word in found.cmdline()):
                own += [found, *found.children(recursive=True)]  # a worker renames itself
    for process in own:
        with suppress(psutil.Error):
            process.kill()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for Ray's sockets and logs that only this user can read.

    The path of a socket has at most 107 characters.
    """
    place = "/tmp" if os.path.isdir("/tmp") else None  # noqa: S108
    with tempfile.TemporaryDirectory(
        prefix="sway-fleet-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield folder
