"""A headless Chromium, controlled through a pipe with the DevTools protocol."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 60
_COMPLAINTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run")
# Chromium reads commands from file descriptor 3 and writes answers to 4.
_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def executable():
    """Path of the browser; None if it is not installed, and on Windows."""
    return next(filter(None, map(shutil.which, NAMES)), None) if sys.platform != "win32" else None


class Page:
    """One tab. `complaints`: console messages, exceptions and network requests of the page."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._numbers = commands, answers, itertools.count(1)
        self._buffer, self._session, self.complaints = b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Run one command of the protocol; return its result."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._commands.write(json.dumps(command).encode() + b"\0")
        return self._until(lambda message: message.get("id") == number)["result"]

    def open(self, path, width, *, scheme="light", media="screen"):
        """Load a file in a window of the given width in CSS pixels."""
        self.complaints = []
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=path.as_uri())
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, script):
        """The value of a JavaScript expression, converted from JSON."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _until(self, is_wanted):
        while True:
            head, found, rest = self._buffer.partition(b"\0")
            if not found:
                more = self._answers.read1(1 << 16)
                assert more, "the browser closed the pipe"
                self._buffer += more
                continue
            self._buffer, message = rest, json.loads(head)
            self._note(message)
            if is_wanted(message):
                return message

    def _note(self, message):
        method, params = message.get("method"), message.get("params")
        if method in _COMPLAINTS:
            self.complaints.append(params)
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith("file:"):
                self.complaints.append(url)


@contextmanager
def opened(browser, profile):
    """A tab of a new browser process, whose files are in the folder `profile`."""
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
