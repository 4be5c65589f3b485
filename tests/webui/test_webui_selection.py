import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from webui.api import ApiError, StudioApi
from webui.choices import ZERO_SHOT
from webui.selection import choose, run_segment


class Refusing(StudioApi):
    """An API that is never asked, or refuses."""

    def segment(self, **_: Any) -> dict[str, Any]:
        raise ApiError("Image too large", "It has 60 million pixels.", 422)


@pytest.fixture
def api() -> StudioApi:
    return Refusing("http://127.0.0.1:9")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_every_choice_has_its_own_id_and_the_viewer_knows_it(picture: Path) -> None:
    (first, message), (second, _) = choose(picture, "a.png"), choose(picture, "a.png")
    assert first.id != second.id
    told = json.loads(message)
    assert (told["kind"], told["id"], told["name"]) == ("image", first.id, "a.png")
    assert told["png"]


def test_a_file_without_a_preview_is_chosen_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("text")
    assert json.loads(choose(path, "notes.txt")[1])["png"] is None


@pytest.mark.parametrize(
    ("typed", "title"),
    [(" , ", "Nothing to look for"), ("a,b,c,d,e,f,g,h,i", "Too many phrases"), ("liver", "Image too large")],
)
def test_what_is_wrong_is_said(api: StudioApi, picture: Path, typed: str, title: str) -> None:
    told = json.loads(run_segment(api, choose(picture, "a.png")[0], typed, ZERO_SHOT))
    assert (told["kind"], told["title"]) == ("error", title)


def test_no_image_is_said(api: StudioApi) -> None:
    assert json.loads(run_segment(api, None, "liver", ZERO_SHOT))["title"] == "No image chosen"


def test_a_deleted_upload_is_said(picture: Path) -> None:
    selection, _ = choose(picture, "a.png")
    picture.unlink()
    told = json.loads(run_segment(StudioApi("http://127.0.0.1:9"), selection, "liver", ZERO_SHOT))
    assert told["title"] == "The file is no longer held"


def test_equal_messages_differ_for_the_browser(api: StudioApi) -> None:
    assert run_segment(api, None, "", ZERO_SHOT) != run_segment(api, None, "", ZERO_SHOT)
