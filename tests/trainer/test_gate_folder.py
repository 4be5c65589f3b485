import pytest
from toy_data import edit_split, write_toy

from trainer.data.faults import UnusableDataError
from trainer.gate.folder import read_rows
from trainer.tuning.settings import TuneSettings


def rows_of(folder, vlsm, split="val", **settings):
    return read_rows(folder, split, TuneSettings(**settings), vlsm)


class TestReadRows:
    def test_images_are_the_units_where_no_groups_are_named(self, tmp_path, tiny):
        rows = rows_of(write_toy(tmp_path / "toy", train=4, val=4), tiny)
        assert not rows.grouped
        assert len(set(rows.units)) == len(rows.examples) == 4

    def test_patients_are_the_units_where_they_are_named(self, tmp_path, tiny):
        folder = write_toy(tmp_path / "toy", train=4, val=4)
        edit_split(folder, "val", lambda es: [e.update(group=f"p{n // 2}") for n, e in enumerate(es[:3])])
        rows = rows_of(folder, tiny)
        assert rows.grouped
        # Two images of one patient, one of another, and one that belongs with none.
        assert rows.units == ("group p0", "group p0", "group p1", "image 3")

    def test_the_training_part_is_what_the_settings_name(self, tmp_path, tiny):
        folder = write_toy(tmp_path / "toy", train=6, val=2)
        assert len(rows_of(folder, tiny, "train", limit=3).examples) == 3

    def test_a_group_of_an_image_that_is_not_there_is_refused(self, tmp_path, tiny):
        folder = write_toy(tmp_path / "toy", train=4, val=4)
        (folder / "groups.csv").write_text("image,group\nnobody.png,p1\n")
        with pytest.raises(UnusableDataError, match=r"nobody\.png is none of the labelled images"):
            rows_of(folder, tiny)
