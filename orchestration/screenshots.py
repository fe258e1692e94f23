"""Pictures of Dagster's pages as an operator meets them, taken by a browser without a window.

Chromium is driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/): a page is
photographed once the text it is about is there. It runs with a profile of its own that is thrown away, and asks nobody
for anything.

Belongs here: taking pictures. Does not belong here: which runs they show (whatever the Dagster at the address has).
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from websockets.sync.client import ClientConnection, connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BYTES_MAX = 150 * 1024
WIDTH, HEIGHT = 1360, 850
_READY_S = 30.0
_SETTLE_S = 4.0
_COLOURS = (256, 128, 64, 32)


class Page(NamedTuple):
    """One picture: its file's name, the page's path, a text that is there once the page is, and how high it is.

    `press`: the text of a link to press first, such as one that opens a picture.
    """

    name: str
    path: str
    text: str
    height: int = HEIGHT
    press: str = ""


PAGES = (
    Page("lineage", "/asset-groups", "source_core"),
    Page("marts", "/locations/{location}/asset-groups/marts/list", "organisation_dashboard", height=1250),
    Page("dashboard-lineage", "/assets/analytics/organisation_dashboard?view=lineage", "int_plan_outcomes"),
    Page(
        "sittings", "/assets/analytics/fct_treatment_sessions?view=overview", "sittings_a_week", press="[Show Markdown]"
    ),
    Page("automation", "/automation", "silent_sessions", height=1150),
    Page("jobs", "/jobs", "nightly_marts"),
    Page("runs", "/runs", "Success"),
    Page("sessions-checks", "/assets/telemetry/sessions?view=checks", "results_are_applied"),
    Page("sweep", "/assets/telemetry/sweep?view=overview", "closed_as_timeout"),
    Page("retention-rows", "/assets/retention/rows?view=overview", "dropped_partitions", height=1250),
    Page("objects", "/assets/storage/objects?view=overview", "holdings", height=1150),
)


class ScreenshotError(RuntimeError):
    """A picture could not be taken; the message says which and why."""


def take(url: str, folder: Path, location: str, say: Callable[[str], None], pages: tuple[Page, ...] = PAGES) -> None:
    """Photograph each page of the Dagster at `url` into `folder`. Raises ScreenshotError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with _browser() as port, _page(port) as send:
        for page in pages:
            metrics = {"width": WIDTH, "height": page.height, "deviceScaleFactor": 1, "mobile": False}
            send("Emulation.setDeviceMetricsOverride", metrics)
            send("Page.navigate", {"url": url + page.path.format(location=location)})
            _wait_for(send, page)
            if page.press:
                _press(send, page)
                _settle(send)
            shot = base64.b64decode(send("Page.captureScreenshot", {"format": "png"})["data"])
            size = _write(folder / f"{page.name}.png", shot)
            say(f"{folder / page.name}.png  {size / 1024:.0f} KB")


Send = Callable[..., dict[str, Any]]


def _wait_for(send: Send, page: Page) -> None:
    """Until the page's text is there and nothing comes any more: lists fill in row by row."""
    ends = time.monotonic() + _READY_S
    text = ""
    while time.monotonic() < ends:
        text = _text(send)
        if page.text.lower() in text.lower():
            _settle(send)
            return
        time.sleep(0.25)
    raise ScreenshotError(
        f"{page.name}: {page.text!r} did not appear within {_READY_S:.0f} s; the page says: {text[:500]}"
    )


def _settle(send: Send) -> None:
    """Wait until the page has said the same for a while, whatever its clocks count."""
    ends, before, since = time.monotonic() + _READY_S, "", time.monotonic()
    while time.monotonic() < min(ends, since + _SETTLE_S):
        now = re.sub(r"\d+", "", _text(send))
        if now != before or "Loading" in now:
            before, since = now, time.monotonic()
        time.sleep(0.25)


def _text(send: Send) -> str:
    answer = send("Runtime.evaluate", {"expression": "document.body ? document.body.innerText : ''"})
    return str(answer["result"].get("value", ""))


def _press(send: Send, page: Page) -> None:
    """Press the last link of that text."""
    found = f"[...document.querySelectorAll('a, button, span')].filter(e => e.innerText === {json.dumps(page.press)})"
    answer = send("Runtime.evaluate", {"expression": f"(e => e ? (e.click(), true) : false)({found}.pop())"})
    if answer["result"].get("value") is not True:
        raise ScreenshotError(f"{page.name}: there is no {page.press!r} to press")


def _write(path: Path, shot: bytes) -> int:
    """Write the picture with as many colours as BYTES_MAX allows; its size."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    for colours in _COLOURS:
        file = io.BytesIO()
        picture.quantize(colours).save(file, format="png", optimize=True)
        if file.tell() <= BYTES_MAX:
            break
    else:
        raise ScreenshotError(f"{path.name} has over {BYTES_MAX} bytes with {_COLOURS[-1]} colours")
    path.write_bytes(file.getvalue())
    return file.tell()


@contextlib.contextmanager
def _browser() -> Iterator[int]:
    """A browser; the port of its DevTools."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise ScreenshotError(f"none of {', '.join(BROWSERS)} is installed (on Debian: apt-get install chromium)")
    # Its children may still write while it ends.
    with tempfile.TemporaryDirectory(prefix="restartix-browser-", ignore_cleanup_errors=True) as profile:
        command = [
            found,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield _devtools_port(Path(profile) / "DevToolsActivePort", process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _devtools_port(file: Path, process: subprocess.Popen[bytes]) -> int:
    ends = time.monotonic() + _READY_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise ScreenshotError(f"the browser ended with code {process.returncode}")
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(file.read_text().splitlines()[0])
        time.sleep(0.1)
    raise ScreenshotError(f"the browser did not start within {_READY_S:.0f} s")


@contextlib.contextmanager
def _page(port: int) -> Iterator[Send]:
    """A tab: what sends it a command and waits for the answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
        tab = next(one for one in json.load(answer) if one["type"] == "page")
    numbers = itertools.count(1)
    with connect(tab["webSocketDebuggerUrl"], max_size=64 * 1024 * 1024) as socket:

        def send(method: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
            return _ask(socket, next(numbers), method, values or {})

        yield send


def _ask(socket: ClientConnection, number: int, method: str, values: dict[str, Any]) -> dict[str, Any]:
    socket.send(json.dumps({"id": number, "method": method, "params": values}))
    while True:
        said = json.loads(socket.recv(timeout=_READY_S))
        if said.get("id") == number:
            if "error" in said:
                raise ScreenshotError(f"{method}: {said['error'].get('message')}")
            return dict(said["result"])
