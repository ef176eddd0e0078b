"""A headless Chromium, spoken to over a pipe in the DevTools protocol: no driver, no port."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 60
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run")
# The protocol's pipes are file descriptors 3 and 4.
_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def executable():
    """The browser's path; None where there is none, or no pipe to reach it."""
    return next(filter(None, map(shutil.which, NAMES)), None) if sys.platform != "win32" else None


class Page:
    """One tab. `complaints`: what its console said."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._numbers = commands, answers, itertools.count(1)
        self._buffer, self._session, self.complaints = b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        self._commands.write(
            json.dumps({"id": number, "method": method, "params": params} | session).encode()
            + b"\0"
        )
        return self._until(lambda message: message.get("id") == number)["result"]

    def open(self, path, width, *, scheme="light", media="screen"):
        """Loads a file at a width in CSS pixels."""
        self.complaints = []
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=path.as_uri())
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, script):
        """The value of an expression, as JSON tells it."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _until(self, is_wanted):
        while True:
            head, found, rest = self._buffer.partition(b"\0")
            if not found:
                more = self._answers.read1(1 << 16)
                assert more, "the browser has gone"
                self._buffer += more
                continue
            self._buffer, message = rest, json.loads(head)
            self._note(message)
            if is_wanted(message):
                return message

    def _note(self, message):
        match message:
            case {
                "method": "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded"
            }:
                self.complaints.append(message["params"])
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": url}}} if (
                url[:5] != "file:"
            ):
                self.complaints.append(url)


@contextmanager
def opened(browser, profile):
    """A tab of a browser of its own, with its files in the folder `profile`."""
    from_us, to_them = os.pipe()
    from_them, to_us = os.pipe()
    flags = [*_FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(from_us), str(to_us), browser, *flags],
        pass_fds=(from_us, to_us),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    with open(to_them, "wb", buffering=0) as commands, open(from_them, "rb") as answers:
        try:
            yield Page(commands, answers)
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)
