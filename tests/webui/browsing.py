"""One session of the page in a real browser, and what it asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
from playwright.sync_api import Browser, Page, Request, expect

TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)

# What gradio calls a function of the page with.
PREDICTIONS = ("/gradio_api/queue/join", "/gradio_api/run", "/gradio_api/call")
_READ_CANVAS = """() => {
    const canvas = document.querySelector('[data-part="canvas"]');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let text = '';
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return [canvas.width, canvas.height, btoa(text)];
}"""


class Studio:
    """One page session, with everything it asked for and complained about."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.faults: list[str] = []
        page.on("request", self._asked)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(url)
        expect(page.locator('.tvs-service-text[data-state="ready"]')).to_be_visible()

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def part(self, name: str) -> str:
        return f'[data-part="{name}"]'

    def pick(self, key: str, name: str) -> None:
        self.page.click(f'button[data-key="{key}"]')
        self.wait_for_image(name)

    def upload(self, name: str, content: bytes) -> None:
        file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
        self.page.set_input_files(".tvs-upload input[type=file]", files=[file])  # type: ignore[list-item]
        self.wait_for_image(name)

    def wait_for_image(self, name: str) -> None:
        expect(self.page.locator(self.part("status"))).to_have_text(f"{name} · not segmented yet")

    def type(self, text: str) -> None:
        self.page.fill(".tvs-phrases textarea", text)

    def segment(self) -> None:
        self.page.click(".tvs-segment")
        self.wait_for_result()

    def wait_for_result(self) -> None:
        expect(self.page.locator(self.part("status"))).to_contain_text("segmented in")
        expect(self.page.locator(self.part("busy"))).to_be_hidden()

    def pixels(self) -> np.ndarray:
        """The canvas as [H, W, 4], once it is drawn."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        width, height, data = self.page.evaluate(_READ_CANVAS)
        return np.frombuffer(base64.b64decode(data), dtype=np.uint8).reshape(height, width, 4)

    def slide(self, name: str, value: float) -> None:
        self.page.locator(self.part(name)).fill(str(value))

    def rows(self) -> list[str]:
        return self.page.locator(".tvs-row").all_inner_texts()

    def inferences(self) -> int:
        return sum(urlsplit(r.url).path.startswith((*PREDICTIONS, "/segment")) for r in self.requests)


@contextmanager
def session(chromium: Browser, url: str) -> Iterator[Studio]:
    """A page session; afterwards, nothing may have left this machine or been complained about."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    studio = Studio(context.new_page(), url)
    yield studio
    context.close()
    hosts = {urlsplit(r.url).hostname for r in studio.requests if r.url.startswith(("http", "ws"))}
    assert hosts == {"127.0.0.1"}
    assert studio.faults == []


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Part of the picture that differs."""
    return float((before != after).any(axis=-1).mean())
