from pathlib import Path

import pytest

from webui import examples
from webui.examples import find_examples
from webui.phrases import split_phrases
from webui.tiles import example_tiles


def test_every_example_is_installed_with_its_package() -> None:
    found = find_examples()
    assert [e.key for e in found] == ["retina", "tissue", "cell", "ct", "mr", "ultrasound"]
    assert all("site-packages" in e.path.parts or "dist-packages" in e.path.parts for e in found)
    assert all(len(split_phrases(e.phrase)) == 1 for e in found)


def test_every_tile_has_a_picture_a_name_and_a_state() -> None:
    html = example_tiles(find_examples())
    assert html.count("<button") == html.count('src="data:image/png;base64,') == 6
    assert html.count('aria-pressed="false"') == 6
    # gradio compiles it as a template: these would be taken for one.
    assert not any(sign in html for sign in ("{{", "${", "`"))


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "find_spec", lambda name: None)
    assert [e.key for e in find_examples()] == ["ct", "mr", "ultrasound"]
    monkeypatch.setattr(examples, "get_testdata_file", lambda name, download: None)
    assert find_examples() == ()
    assert "No example images are installed" in example_tiles(())


def test_a_picture_that_cannot_be_drawn_is_a_neutral_tile(tmp_path: Path) -> None:
    path = tmp_path / "broken.dcm"
    path.write_bytes(b"no image")
    html = example_tiles((examples.Example("k", "A <b>", "x", path),))
    assert "tvs-tile-blank" in html
    assert "A &lt;b&gt;" in html
