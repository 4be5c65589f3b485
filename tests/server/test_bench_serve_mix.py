"""What the load generator sends."""

from __future__ import annotations

import itertools
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models_store.errors import BadInputError
from server.load.mix import RECENT, Shot, draw_shots
from server.load.pictures import FolderPictures, SyntheticPictures


def shots(count: int, **options: Any) -> list[Shot]:
    given = {"references": ["busi", None, "kvasir"], "phrases": ["a", "b", "c"]} | options
    return list(itertools.islice(draw_shots(**given), count))


class TestShots:
    def test_every_checkpoint_gets_its_share_of_even_a_short_run(self) -> None:
        assert Counter(shot.reference for shot in shots(30)) == {"busi": 10, None: 10, "kvasir": 10}

    def test_the_same_seed_sends_the_same(self) -> None:
        assert shots(50, seed=3, repeat=0.5) == shots(50, seed=3, repeat=0.5)
        assert shots(50, seed=3, repeat=0.5) != shots(50, seed=4, repeat=0.5)

    def test_without_repeats_every_image_is_new(self) -> None:
        assert [shot.picture for shot in shots(40)] == list(range(40))
        assert not any(shot.repeated for shot in shots(40))

    def test_repeats_are_of_images_sent_lately(self) -> None:
        sent = shots(2000, repeat=0.7)
        assert 0.65 < sum(shot.repeated for shot in sent) / len(sent) < 0.75
        newest = -1
        for shot in sent:
            assert shot.repeated is (shot.picture <= newest)
            assert shot.picture > newest - RECENT
            newest = max(newest, shot.picture)

    def test_all_repeated_but_the_first(self) -> None:
        assert [shot.repeated for shot in shots(5, repeat=1.0)] == [False, True, True, True, True]

    def test_a_folder_that_is_used_up_begins_anew_and_says_so(self) -> None:
        sent = shots(7, pictures=3)
        assert [shot.picture for shot in sent] == [0, 1, 2, 0, 1, 2, 0]
        assert [shot.repeated for shot in sent] == [False] * 3 + [True] * 4

    def test_several_phrases_are_distinct(self) -> None:
        assert all(len(set(shot.phrases)) == 2 for shot in shots(50, phrases_each=2))

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"references": []}, "at least one checkpoint"),
            ({"phrases": []}, "one phrase"),
            ({"repeat": 1.5}, "is 1.5; 0 to 1"),
            ({"phrases_each": 4}, "1 to the 3 given"),
            ({"phrases_each": 0}, "1 to the 3 given"),
        ],
    )
    def test_what_cannot_be_sent(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(BadInputError, match=said):
            shots(1, **options)


class TestPictures:
    def test_synthetic_ones_differ_in_their_pixels_and_cost_the_same(self) -> None:
        made = SyntheticPictures(side=64)
        files = [made.content(number) for number in (0, 1, 2, 1000)]
        pixels = [np.asarray(Image.open(BytesIO(file))) for file in files]
        assert {array.shape for array in pixels} == {(64, 64)}
        assert len({array.tobytes() for array in pixels}) == 4
        assert max(map(len, files)) - min(map(len, files)) < 60
        assert made.content(1) == files[1]

    def test_those_drawn_ahead_are_those_drawn_later(self) -> None:
        ahead, later = SyntheticPictures(64, 3, ahead=2), SyntheticPictures(64, 3)
        assert [ahead.content(n) for n in (0, 1, 2)] == [later.content(n) for n in (0, 1, 2)]
        assert ahead.content(1) is ahead.content(1)
        assert ahead.content(2) is not ahead.content(2)

    def test_what_is_drawn_ahead_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.load.pictures.AHEAD_BYTES", 1)
        made = SyntheticPictures(64, ahead=10**9)
        assert made.content(0) is made.content(0)
        assert made.content(1) is not made.content(1)

    def test_a_folder_without_hidden_and_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        for name in ("b.png", "sub/a.JPG", "IM0001", ".hidden.png", "notes.txt"):
            (tmp_path / name).write_bytes(name.encode())
        made = FolderPictures(tmp_path)
        assert made.count == 3
        assert [made.content(number) for number in range(3)] == [b"IM0001", b"b.png", b"sub/a.JPG"]

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match="no image in"):
            FolderPictures(tmp_path)
