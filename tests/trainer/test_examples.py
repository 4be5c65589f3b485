import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import PHRASE, edit_split, write_toy

from models_store.errors import BadInputError
from models_store.preprocess import to_pixels
from trainer.data.examples import examples_digest, load_examples, normalise, unit_scale
from trainer.data.folder import read_split
from trainer.data.stacks import PackedMask


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=4, val=2)


class TestPackedMask:
    def test_gives_back_what_was_packed(self):
        mask = np.random.default_rng(0).random((13, 7)) < 0.4
        packed = PackedMask(mask)
        assert np.array_equal(packed.unpack(), mask)
        assert packed.shape == (13, 7)


class TestLoadExamples:
    def test_pixels_are_those_that_serving_prepares(self, tiny, folder):
        items = read_split(folder, "train")
        examples = load_examples(items, tiny.spec)
        prepared = normalise(unit_scale(examples.images[:], torch.device("cpu")), tiny.spec)
        expected = torch.stack([to_pixels(item.image(), tiny.spec) for item in items])
        assert torch.allclose(prepared, expected, atol=1e-6)

    def test_truth_keeps_the_images_own_size(self, tiny, folder):
        items = read_split(folder, "train")
        examples = load_examples(items, tiny.spec)
        side = tiny.spec.image_size
        assert examples.masks.shape == (4, side, side)
        for item, truth in zip(items, examples.truths, strict=True):
            assert np.array_equal(truth.unpack(), item.mask())
        assert {t.shape for t in examples.truths} == {(72, 80), (72, 84), (72, 88)}

    def test_takes_the_phrases_of_a_key_or_one_phrase_for_all(self, tiny, folder):
        edit_split(folder, "train", lambda e: e[1]["prompts"].update(p1=["one", "other"]))
        items = read_split(folder, "train")
        assert load_examples(items, tiny.spec).phrases[:2] == ((PHRASE,), ("one", "other"))
        assert load_examples(items, tiny.spec).all_phrases() == [PHRASE, "one", "other"]
        assert set(load_examples(items, tiny.spec, phrase="thing").phrases) == {("thing",)}

    def test_lists_every_fault_at_once(self, tiny, folder):
        (folder / "images" / "train_00.png").write_bytes(b"not an image")
        Image.new("L", (5, 5)).save(folder / "masks" / "train_01.png")
        edit_split(folder, "train", lambda e: e[2].update(prompts={"p2": "x"}))
        with pytest.raises(BadInputError) as caught:
            load_examples(read_split(folder, "train"), tiny.spec)
        text = str(caught.value)
        assert text.startswith("3 of 4 labelled images cannot be used")
        assert "train_00.png cannot be read" in text
        assert "train_01.png: image is 84x72, but its mask is 5x5" in text
        assert "train_02.png has no prompt 'p1'; it has p2" in text

    def test_empty_phrases_are_refused(self, tiny, folder):
        items = read_split(folder, "train")
        with pytest.raises(BadInputError, match="prompt 'p0' is empty"):
            load_examples(items, tiny.spec, prompt_key="p0")
        with pytest.raises(BadInputError, match="phrase is empty"):
            load_examples(items, tiny.spec, phrase="  ")


class TestExamplesDigest:
    def test_follows_content_and_not_place(self, tiny, tmp_path):
        here, there = (write_toy(tmp_path / name, train=3, val=1) for name in ("a", "b"))

        def digest(folder, **options):
            return examples_digest(load_examples(read_split(folder, "train"), tiny.spec, **options))

        original = digest(here)
        assert digest(there) == original
        assert digest(there, phrase="other") != original
        Image.new("L", (80, 72)).save(there / "masks" / "train_00.png")
        assert digest(there) != original
