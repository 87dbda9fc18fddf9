"""Drive a headless Chromium over the DevTools protocol's pipe (two file descriptors), with nothing but the library.

https://chromedevtools.github.io/devtools-protocol: messages are JSON, each ended by a zero byte; the browser reads
them from descriptor 3 and writes to descriptor 4.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 30
OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
)


def find() -> str | None:
    """Return the path of a Chromium; None where there is none, or no way to hand it two descriptors."""
    if not hasattr(os, "posix_spawn"):
        return None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab; `problems` gathers what a good page never causes: errors on the console and requests."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.problems: list[str] = []
        self.dialogs: list[str] = []
        self._loaded: set[str] = set()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Give a command and return its result."""
        return self._browser.call(method, params, self._session)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file anew and wait until it is there; what went wrong before is forgotten."""
        self._go("about:blank")
        self.problems, self.dialogs = [], []
        self._go(path.as_uri() + (f"#{fragment}" if fragment else ""))

    def _go(self, url: str) -> None:
        loader = self.call("Page.navigate", url=url)["loaderId"]
        self._browser.wait(lambda: loader in self._loaded, f"{url} to load")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page and return its value."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key as a person would."""
        base = {"key": key, "windowsVirtualKeyCode": code, "code": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", **base, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **base)

    def click(self, selector: str) -> None:
        """Click in the middle of an element with the mouse."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{find}.scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y = self.run(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({find}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def size(self, width: int, height: int = 900) -> None:
        """Make the window so many CSS pixels wide."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """Prefer the "light" or the "dark" scheme."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, path: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def take(self, message: dict[str, Any]) -> None:
        """Take in an event of this tab."""
        method, params = message["method"], message["params"]
        if method == "Page.lifecycleEvent" and params["name"] == "load":
            self._loaded.add(params["loaderId"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._browser.send("Page.handleJavaScriptDialog", {"accept": True}, self._session)
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and params["type"] != "Document":
            self.problems.append(f"request: {params['request']['url']}")


class Browser:
    """A running browser; its answers come back in the order they arrive."""

    def __init__(self, path: str, profile: str) -> None:
        ours, theirs = os.pipe(), os.pipe()  # we write to ours[1], and read from theirs[0]
        # Duplicated high up first: one end may itself be descriptor 3 or 4.
        ends = [os.dup2(ours[0], 40), os.dup2(theirs[1], 41)]
        quiet = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, end, 3 + i) for i, end in enumerate(ends)]
        actions += [(os.POSIX_SPAWN_DUP2, quiet, stream) for stream in (1, 2)]
        argv = [path, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(path, argv, {**os.environ, "HOME": profile}, file_actions=actions, setpgroup=0)
        for end in (ours[0], theirs[1], quiet, *ends):
            os.close(end)
        self._write, self._read = ours[1], theirs[0]
        self._held, self._number = b"", 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """Open a tab."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._tabs[session] = tab = Tab(self, session)
        return tab

    def send(self, method: str, params: dict[str, Any], session: str = "") -> int:
        """Give a command without waiting."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        os.write(self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._number

    def call(self, method: str, params: dict[str, Any], session: str = "") -> dict[str, Any]:
        """Give a command and wait for its result."""
        number = self.send(method, params, session)
        self.wait(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait(self, ready: Any, what: str) -> None:
        """Take in messages until `ready()`."""
        end = time.monotonic() + PATIENCE_S
        while not ready():
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"waited {PATIENCE_S} s for {what}")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise ConnectionError("the browser is gone")
            *whole, self._held = (self._held + data).split(b"\0")
            for message in map(json.loads, whole):
                if "id" in message:
                    self._answers[message["id"]] = message
                elif message.get("sessionId") in self._tabs:
                    self._tabs[message["sessionId"]].take(message)

    def close(self) -> None:
        """End the browser and all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._write)
        os.close(self._read)


@contextlib.contextmanager
def running(path: str) -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it behind the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(path, profile)
        try:
            yield browser
        finally:
            browser.close()
