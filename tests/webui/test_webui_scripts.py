"""The browser's half of the arithmetic, against the server's and NumPy's."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from models_store import rle
from webui.look import static_text

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def scripts(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    page.add_script_tag(content=static_text("masks.js", "png.js"))
    yield page
    page.close()


def masks() -> list[NDArray[np.bool_]]:
    generator = np.random.default_rng(0)
    blob = np.zeros((700, 900), dtype=bool)
    blob[40:650, 100:820] = True
    return [
        generator.random((7, 5)) > 0.5,
        generator.random((40, 61)) > 0.9,
        np.zeros((3, 4), dtype=bool),
        np.ones((3, 4), dtype=bool),
        np.array([[True]]),
        blob,
    ]


@pytest.mark.parametrize("mask", masks(), ids=lambda m: "x".join(map(str, m.shape)))
def test_run_lengths_of_the_server_are_read(scripts: Page, mask: NDArray[np.bool_]) -> None:
    told = {"size": list(mask.shape), "counts": rle.encode(mask)}
    read = np.array(scripts.evaluate("told => Array.from(decodeRle(told))", told), dtype=bool)
    assert (read.reshape(mask.shape) == mask).all()


@pytest.mark.parametrize("threshold", [0.01, 0.3, 0.37, 0.5, 0.99])
def test_figures_follow_the_threshold(scripts: Page, threshold: float) -> None:
    levels = np.random.default_rng(1).integers(0, 256, 4000)
    area, confidence, marked = scripts.evaluate(
        """([levels, threshold]) => {
            const cut = cutLevel(threshold);
            const { area, confidence } = measureAt(cumulate(Uint8Array.from(levels)), cut);
            return [area, confidence, maskAt(levels, cut).reduce((a, b) => a + b, 0)];
        }""",
        [levels.tolist(), threshold],
    )
    inside = levels[levels >= np.floor(threshold * 255 + 0.5)]
    assert (area, marked) == (inside.size, inside.size)
    assert confidence == pytest.approx(inside.mean() / 255)


def test_nothing_inside_has_no_confidence(scripts: Page) -> None:
    told = scripts.evaluate("() => measureAt(cumulate(Uint8Array.of(3, 4)), 128)")
    assert told == {"area": 0, "confidence": None}


def test_a_saved_mask_is_an_eight_bit_grey_png(scripts: Page) -> None:
    mask = np.random.default_rng(2).random((37, 53)) > 0.5
    encoded = scripts.evaluate(
        """async ([bytes, width, height]) => {
            const blob = await encodeMaskPng(Uint8Array.from(bytes), width, height);
            return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
        }""",
        [mask.astype(int).ravel().tolist(), 53, 37],
    )
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as saved:
        assert saved.mode == "L"
        assert (np.asarray(saved) == mask * 255).all()


def test_levels_survive_the_browsers_png_decoder(scripts: Page) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    told = base64.b64encode(buffer.getvalue()).decode()
    read = scripts.evaluate("async told => Array.from(bitmapLevels(await decodePng(told)))", told)
    assert read == levels.ravel().tolist()
