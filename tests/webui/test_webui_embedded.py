"""What a new user sees: the embedded base model on an example."""

from __future__ import annotations

import re

import pytest
from browsing import changed, session
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
RETINA_PIXELS = 1411 * 1411


def marked_share(row: str) -> float:
    """Share of the retina image that a row of the legend says is marked."""
    area = re.search(r"([\d,]+) px", row)
    return int(area[1].replace(",", "")) / RETINA_PIXELS if area else 0.0


def test_vessels_are_found_and_bananas_are_not(chromium: Browser, embedded_studio: str) -> None:
    with session(chromium, embedded_studio) as page:
        page.pick("retina", "Retina.jpg")
        plain = page.pixels()
        page.type("retinal blood vessels, banana")
        page.segment()
        vessels, banana = page.rows()
        # Vessels cover about a tenth of a fundus photograph.
        assert 0.05 < marked_share(vessels) < 0.2
        assert marked_share(banana) < 0.01
        assert changed(plain, page.pixels()) > 0.03
