"""An HTTP client for servers with OpenAI's interface: limits, retries, and a key that stays hidden.

It follows no redirects and uses no proxy, so that requests only reach the host that the user named.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sway_gate.errors import CannotDecide, UsageError
from sway_gate.text import cut, one_line

KEY, OPENAI_KEY = "SWAY_API_KEY", "OPENAI_API_KEY"
_OPENAI = "api.openai.com"
TIMEOUT_S, _CONNECT_S, _ATTEMPTS = 120.0, 10.0, 4
"""Seconds for an answer, all attempts together, and for a connection."""
MAX_BYTES = 64 * 2**20
"""The maximum size of an answer."""
_MAX_WAIT_S = 30.0
_BUSY = (429, 502, 503, 504)
_AT_ONCE = 4
"""Requests at the same time."""
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class Refused(CannotDecide):
    """The server refuses a request, whose status is `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """`url`: the root of the interface, as http://localhost:8000/v1; `label` begins messages."""

    def __init__(self, url: str, label: str, key: str = "") -> None:
        try:
            import httpx
            import tenacity
        except ImportError as error:
            raise CannotDecide(
                f"{error}; install the extra: pip install 'sway-gate[api]'"
            ) from None
        self.label, self._key = label, key
        try:
            self._http: Any = httpx.Client(
                base_url=url.rstrip("/") + "/",
                headers={"Authorization": f"Bearer {key}"} if key else {},
                follow_redirects=False,
                trust_env=False,
            )
        except httpx.InvalidURL:
            raise UsageError(
                f"{label}: not an address; give one as http://localhost:8000/v1"
            ) from None
        self._failures: Any = (httpx.RequestError, _Busy)
        grows = tenacity.wait_exponential(multiplier=0.5, max=8)
        self._retrying: Any = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(self._failures),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(TIMEOUT_S),
            wait=lambda state: max(grows(state), _requested_wait(state.outcome)),
            reraise=True,
        )

    def get(self, path: str) -> Any:
        """The JSON answer. Raises CannotDecide, or Refused if the status is not 200."""
        return self._answer("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer. Raises CannotDecide, or Refused if the status is not 200."""
        return self._answer("POST", path, body)

    def models(self) -> list[str]:
        """The names of the models that the server lists. Raises as `get` does."""
        try:
            return [str(model["id"]) for model in self.get("models")["data"]]
        except (KeyError, TypeError):
            return []

    def close(self) -> None:
        self._http.close()

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        end = time.monotonic() + TIMEOUT_S
        try:
            return self._retrying.copy()(self._once, method, path, body, end)
        except self._failures as error:
            if _is_unknown_host(error):
                raise UsageError(f"{self.label}: no such host; correct the address") from None
            raise CannotDecide(f"{self.label} does not answer: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        import httpx

        if isinstance(error, httpx.ConnectTimeout):
            return f"no connection within {_CONNECT_S:g} s"
        if isinstance(error, httpx.TimeoutException):
            return f"nothing within {TIMEOUT_S:g} s"
        return one_line(self._without_key(str(error))) or type(error).__name__

    def _once(self, method: str, path: str, body: dict[str, Any] | None, end: float) -> Any:
        left = max(end - time.monotonic(), 0.0)
        limits = (min(left, _CONNECT_S), left, left, left)  # to connect, read, write, wait
        with self._http.stream(method, path, json=body, timeout=limits) as response:
            data, status = self._read(response, end), response.status_code
            wait = response.headers.get("Retry-After", "")
        if status in _BUSY:
            raise _Busy(f"status {status}", wait)
        if status != 200:
            said = cut(one_line(self._without_key(data.decode(errors="replace"))), 200)
            raise Refused(f"{self.label} answers with status {status}: {said}", status)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise CannotDecide(f"{self.label} does not answer with JSON") from None

    def _read(self, response: Any, end: float) -> bytes:
        """The answer, limited in size and in time."""
        data = bytearray()
        for part in response.iter_bytes():
            data += part
            if len(data) > MAX_BYTES or time.monotonic() > end:
                raise CannotDecide(f"{self.label} does not end its answer")
        return bytes(data)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def key_for(url: str, name: str = KEY) -> str:
    """The key for this server, in the environment variable `name`; "" if there is none.

    Raises UsageError.
    """
    is_openai = urlsplit(url).hostname == _OPENAI
    for variable in (name, OPENAI_KEY) if is_openai else (name,):
        if key := os.environ.get(variable, "").strip():
            if key.isascii() and key.isprintable():
                return key
            raise UsageError(
                f"{variable}: contains a character that no key has; copy the key again"
            )
    return ""


def _is_unknown_host(error: BaseException | None) -> bool:
    """Whether the error comes from a host name that does not exist."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
        error = error.__cause__ or error.__context__
    return False


class _Busy(Exception):
    """The server asks to try again, after `wait` seconds if it says so."""

    def __init__(self, message: str, wait: str) -> None:
        super().__init__(message)
        self.wait = float(wait) if wait.isdecimal() and wait.isascii() and len(wait) < 9 else 0.0


def _requested_wait(outcome: Any) -> float:
    """The seconds that the server asks to wait after this outcome of a request."""
    error = outcome.exception()
    return min(error.wait, _MAX_WAIT_S) if isinstance(error, _Busy) else 0.0


def at_once(ask: Callable[[_Given], _Found], given: Sequence[_Given]) -> list[_Found]:
    """The answers, in order; an error ends the requests that have not begun."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        waiting = [pool.submit(ask, one) for one in given]
        return [future.result() for future in waiting]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
