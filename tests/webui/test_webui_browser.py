"""The page in a real browser, on a real server process with a small random base model."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from browsing import Studio, changed, session
from PIL import Image
from playwright.sync_api import Browser, expect
from pydicom.data import get_testdata_file

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser, studio: str) -> Iterator[Studio]:
    with session(chromium, studio) as opened:
        yield opened


def dicom_bytes(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def test_example_phrase_overlay_and_sliders_without_inference(page: Studio) -> None:
    page.pick("retina", "Retina.jpg")
    expect(page.page.locator(".tvs-phrases textarea")).to_have_value("retinal blood vessels")
    plain = page.pixels()
    assert np.ptp(plain[..., :3]) > 100, "the chosen image is shown before it is segmented"
    page.segment()
    asked = page.inferences()
    assert asked > 0
    # A random model may find nothing at 0.5; at 0.01 every probability of a sigmoid counts.
    page.slide("threshold", 0.01)
    marked = page.pixels()
    assert changed(plain, marked) > 0.2
    assert "1,990,921 px\nconfidence 0." in page.rows()[0], "every pixel of 1411 × 1411"
    page.slide("opacity", 0.9)
    strong = page.pixels()
    assert changed(marked, strong) > 0.2
    page.slide("threshold", 0.99)
    empty = page.pixels()
    assert changed(strong, empty) > 0.2
    assert "Nothing found at this threshold" in page.rows()[0]
    assert page.inferences() == asked, "sliders ask the server for nothing"


def test_threshold_moves_area_and_picture_together(page: Studio) -> None:
    page.pick("ct", "Head CT.dcm")
    page.type("brain")
    page.segment()
    areas, pictures = [], []
    for threshold in (0.05, 0.45, 0.5, 0.55, 0.95):
        page.slide("threshold", threshold)
        pictures.append(page.pixels())
        row = page.rows()[0]
        areas.append(0 if "Nothing found" in row else int(row.split(" px")[0].split()[-1].replace(",", "")))
    assert areas == sorted(areas, reverse=True)
    assert areas[0] > areas[-1]
    assert changed(pictures[0], pictures[-1]) > 0.05
    page.page.click(page.part("reset"))
    expect(page.page.locator(page.part("threshold-value"))).to_have_text("0.50")
    assert changed(page.pixels(), pictures[2]) == 0


def test_uploaded_dicom_two_phrases_colours_and_spacing(page: Studio) -> None:
    page.upload("CT_small.dcm", dicom_bytes("CT_small.dcm"))
    page.type("vertebra, lung")
    page.page.press(".tvs-phrases textarea", "Enter")
    page.wait_for_result()
    assert [row.split("\n")[0] for row in page.rows()] == ["vertebra", "lung"]
    page.slide("threshold", 0.01)
    page.slide("opacity", 0.3)
    assert all("mm²" in row for row in page.rows())
    area = 128 * 128 * 0.661468**2
    assert f"16,384 px\n{area:,.0f} mm²" in page.rows()[0]
    both = page.pixels()
    page.page.get_by_label("Show lung (orange)").uncheck()
    one = page.pixels()
    assert changed(both, one) > 0.2
    page.page.get_by_label("Show vertebra (sky blue)").uncheck()
    assert changed(one, page.pixels()) > 0.2
    details = page.page.locator(page.part("details")).inner_text()
    assert "128 × 128 px" in details
    assert "0.661 × 0.661 mm" in details
    assert "zero-shot" in details


def test_saved_mask_is_the_servers_own_at_its_threshold(page: Studio, studio: str) -> None:
    content = dicom_bytes("examples_rgb_color.dcm")
    page.upload("scan.dcm", content)
    page.type("lymph node")
    page.segment()
    if page.page.get_by_label("Save the mask of lymph node as PNG").is_disabled():
        pytest.fail("the random model marks nothing here: choose another image")
    with page.page.expect_download() as download:
        page.page.get_by_label("Save the mask of lymph node as PNG").click()
    assert download.value.suggested_filename == "scan_lymph-node_mask.png"
    answer = httpx.post(
        f"{studio}/segment",
        files={"image": ("scan.dcm", content)},
        data={"prompt": "lymph node", "output": "png"},
        trust_env=False,
        timeout=60,
    )
    with Image.open(download.value.path()) as saved, Image.open(io.BytesIO(answer.content)) as wanted:
        assert saved.mode == "L"
        assert (np.asarray(saved) == np.asarray(wanted)).all()


def test_datasets_and_checkpoints(page: Studio) -> None:
    page.pick("cell", "Cell.png")
    page.page.get_by_label("Dataset").click()
    page.page.get_by_role("option", name="busi").click()
    # The champion is taken with its dataset, and its labels are told.
    expect(page.page.get_by_label("Checkpoint")).to_have_value("busi · champion (v0002)")
    expect(page.page.locator(".tvs-note .tvs-quiet")).to_contain_text("Tuned for: breast tumor.")
    page.segment()
    details = page.page.locator(page.part("details"))
    expect(details).to_contain_text("busi/v0002 · vpt")
    expect(page.page.locator(page.part("threshold-value"))).to_have_text("0.40")
    page.page.get_by_label("Checkpoint").click()
    page.page.get_by_role("option", name="busi/v0001").click()
    page.page.click(".tvs-segment")
    expect(details).to_contain_text("busi/v0001 · vpt")
    page.page.get_by_label("Dataset").click()
    page.page.get_by_role("option", name="lungs").click()
    # Its only version was made for another base.
    expect(page.page.get_by_label("Checkpoint")).to_have_value("Zero-shot (no checkpoint)")
    expect(page.page.locator(".tvs-note .tvs-quiet")).to_contain_text("lungs/v0001")


def test_a_text_file_gets_the_apis_own_words_and_work_goes_on(page: Studio) -> None:
    page.pick("cell", "Cell.png")
    page.segment()
    page.upload("notes.png", b"these are notes and no image")
    assert page.rows() == [], "masks of another image are gone"
    expect(page.page.locator(page.part("hint"))).to_contain_text("no preview")
    page.page.click(".tvs-segment")
    alert = page.page.get_by_role("alert")
    expect(alert).to_contain_text("DICOM")
    expect(page.page.locator(page.part("busy"))).to_be_hidden()
    page.page.get_by_role("button", name="Dismiss").click()
    expect(alert).to_be_hidden()
    page.pick("cell", "Cell.png")
    page.segment()
    assert len(page.rows()) == 1


def test_an_error_leaves_the_result_on_screen(page: Studio) -> None:
    page.pick("cell", "Cell.png")
    page.segment()
    before = page.pixels()
    page.type(" , ")
    page.page.click(".tvs-segment")
    expect(page.page.get_by_role("alert")).to_contain_text("Nothing to look for")
    assert len(page.rows()) == 1
    assert changed(before, page.pixels()) == 0


def test_nothing_jumps(page: Studio) -> None:
    watched = (".tvs-stage", ".tvs-segment", ".tvs-upload", ".tvs-phrases", page.part("threshold"))

    def boxes() -> list[object]:
        return [page.page.locator(selector).bounding_box() for selector in watched]

    start = boxes()
    page.pick("mr", "Abdomen MR.dcm")
    assert boxes() == start
    page.type("liver, spleen, left kidney, right kidney, stomach")
    page.segment()
    assert boxes() == start
    page.upload("notes.txt", b"text")
    page.page.click(".tvs-segment")
    expect(page.page.get_by_role("alert")).to_be_visible()
    assert boxes() == start


def test_sessions_do_not_share_an_image(page: Studio, chromium: Browser, studio: str) -> None:
    page.pick("cell", "Cell.png")
    other = Studio(chromium.new_page(), studio)
    other.type("cell")
    other.page.click(".tvs-segment")
    expect(other.page.get_by_role("alert")).to_contain_text("No image chosen")
    other.page.close()


def test_says_research_use_and_names_its_controls(page: Studio) -> None:
    expect(page.page).to_have_title("TuneVLSeg Studio")
    expect(page.page.locator("header")).to_contain_text("Research use only – not a medical device")
    expect(page.page.locator("footer")).to_have_count(0)
    for role, name in [
        ("textbox", "What to look for"),
        ("button", "Segment"),
        ("slider", "Threshold"),
        ("slider", "Fill opacity"),
        ("button", "Retina"),
        ("img", "No image yet"),
    ]:
        expect(page.page.get_by_role(role, name=name, exact=role in ("slider", "img"))).to_have_count(1)  # type: ignore[arg-type]
