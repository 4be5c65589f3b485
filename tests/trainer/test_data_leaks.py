import numpy as np
import pytest
from data_files import save_mask, write_json
from PIL import Image

from trainer.data.dataset import open_dataset
from trainer.data.folder import read_split
from trainer.data.leaks import Asked, emptiness_leak, label_warning


def rows(*groups):
    """Groups of (count, text or texts, empty)."""
    return [
        Asked(text if isinstance(text, tuple) else (text,), empty)
        for count, text, empty in groups
        for _ in range(count)
    ]


class TestEmptiness:
    def test_there_is_none_where_all_masks_are_of_one_kind(self):
        assert emptiness_leak(rows((9, "polyp", False))) is None
        assert emptiness_leak(rows((9, "no polyp", True))) is None

    def test_one_phrase_for_both_tells_nothing(self):
        assert emptiness_leak(rows((9, "polyp", False), (3, "polyp", True))) is None

    def test_a_phrase_of_empty_masks_tells_them(self):
        leak = emptiness_leak(rows((994, "polyp", False), (6, "no polyp", True)))
        assert leak.phrases == {"no polyp": (6, 6)}
        assert (leak.told, leak.empty, leak.present) == (6, 6, 994)

    def test_a_few_exceptions_do_not_hide_it(self):
        leak = emptiness_leak(rows((500, "tumor at left", False), (2, "tumor", False), (98, "tumor", True)))
        assert leak.phrases == {"tumor": (98, 100)}

    def test_of_lists_one_telling_text_is_enough(self):
        found = rows((50, ("polyp", "a polyp"), False), (20, ("polyp", "no polyp here"), True))
        assert emptiness_leak(found).phrases == {"no polyp here": (20, 20)}

    def test_texts_of_their_own_for_every_image_are_no_evidence(self):
        each = [Asked((f"scan {i}",), i % 5 == 0) for i in range(100)]
        assert emptiness_leak(each) is None

    def test_where_nearly_all_are_empty_a_phrase_must_tell_more_than_that(self):
        assert emptiness_leak(rows((97, "a", True), (3, "a", False))) is None
        assert (
            emptiness_leak(rows((96, "a", True), (3, "a", False), (50, "b", True), (1, "b", False))) is None
        )


class TestLabels:
    def test_are_told_by_texts_of_their_own(self):
        found = [
            Asked((f"{label} mass",), False, label) for label in ("benign", "malignant") for _ in range(9)
        ]
        assert "tells the label of 18 of 18 images (9 could be told" in label_warning("p1", found)

    def test_are_not_told_by_one_text_or_none_or_by_texts_of_every_image(self):
        labels = ["benign", "malignant"] * 6
        assert label_warning("p1", [Asked(("mass",), False, label) for label in labels]) is None
        assert label_warning("p1", [Asked((f"mass {i}",), False, x) for i, x in enumerate(labels)]) is None
        assert label_warning("p1", [Asked(("mass",), False), Asked(("lump",), False)]) is None
        mixed = [Asked((f"text {i % 3}",), False, label) for i, label in enumerate(labels)]
        assert label_warning("p1", mixed) is None


@pytest.fixture(scope="module")
def busi(shared_data, tmp_path_factory):
    """The validation images of BUSI at a quarter of their size, with the benchmark's own texts as p1."""
    folder = tmp_path_factory.mktemp("data") / "busi"
    entries = []
    for item in read_split(shared_data / "busi", "val"):
        mask = item.mask()
        small = Image.fromarray(item.image()).reduce(4)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        small.save(folder / "images" / item.name)
        resized = Image.fromarray(mask).resize(small.size, Image.Resampling.NEAREST)
        save_mask(folder / "masks" / item.mask_path.name, np.asarray(resized))
        text = f"{'Tumor' if mask.any() else 'No tumor'} in the breast ultrasound image."
        prompts = {"p0": "", "p1": text, "p2": item.phrases("p1")[0], "p3": f"{item.label} breast"}
        entries.append(
            {"img_name": item.name, "mask_name": item.mask_path.name, "prompts": prompts}
            | {"label": item.label}
        )
    write_json(folder / "anns" / "val.json", entries)
    return folder


class TestOnRealImages:
    def test_phrases_that_tell_empty_masks_are_reported_with_counts(self, busi):
        warning = next(text for text in open_dataset(busi).warnings if "tells which masks are empty" in text)
        assert "25 of 25 empty masks have phrases that the 99 others do not have" in warning
        assert "'No tumor in the breast ultrasound image.' (25 of 25 empty)" in warning

    def test_a_random_key_leaks_where_one_of_its_keys_does(self, busi):
        warnings = open_dataset(busi, prompt_key="random").warnings
        assert any("tells which masks are empty" in text for text in warnings)

    def test_neutral_phrases_are_not_reported(self, busi):
        for options in ({"prompt_key": "p2"}, {"phrase": "tumor"}):
            assert not any("tells" in text for text in open_dataset(busi, **options).warnings)

    def test_phrases_that_tell_the_label_are_reported(self, busi):
        warnings = open_dataset(busi, prompt_key="p3").warnings
        told = next(text for text in warnings if "tells the label" in text)
        assert "124 of 124 images (62 could be told without it)" in told
        assert "'benign breast' means 'benign'" in told
