from dataclasses import replace

import pytest
import torch
from acquisition_parts import PHRASE, candidates, noise_images, random_pack
from cris_parts import tiny_cris
from PIL import Image

from models_store.errors import BadInputError, MismatchError, UnknownNameError
from models_store.packs import ZERO_SHOT, segment_logits
from trainer.acquisition.encoded_once import EncodedOnce
from trainer.acquisition.images import HeldImages, ImageFiles
from trainer.acquisition.scores import expected_dice
from trainer.acquisition.suggest import ORDERS, suggest
from trainer.data.examples import normalise, unit_scale
from trainer.metrics import overlap

CPU = torch.device("cpu")


def logits_alone(given, name: str, index: int, phrase: str = PHRASE) -> torch.Tensor:
    """Logits [1, 1, S, S] of one image, not by way of batches or kept features."""
    pack = given.packs[name]
    pixels = normalise(unit_scale(given.images.read([index]), CPU), given.vlsm.spec)
    with torch.no_grad():
        return segment_logits(given.vlsm, pack, pixels, given.vlsm.tokenize([phrase], pack.text_tokens))


def dice_alone(given, index: int, phrase: str = PHRASE) -> float:
    first, second = (
        (logits_alone(given, name, index, phrase)[0, 0].sigmoid() > 0.5).numpy() for name in given.packs
    )
    return overlap(first, second).dice


class TestEveryOrder:
    @pytest.mark.parametrize("order", ORDERS)
    def test_places_every_image_once_and_the_same_way_again(self, tiny, order):
        found = suggest(candidates(tiny), order, seed=3)
        assert sorted(s.index for s in found) == list(range(6))
        assert [s.name for s in found] == [f"image{s.index}.png" for s in found]
        assert found == suggest(candidates(EncodedOnce(tiny)), order, seed=3)
        assert suggest(candidates(tiny), order, limit=2, seed=3) == found[:2]

    @pytest.mark.parametrize("order", ["combined", "uncertainty", "disagreement", "distance"])
    def test_the_largest_gain_comes_first(self, tiny, order):
        gains = [s.gain for s in suggest(candidates(tiny), order)]
        assert len(set(gains)) > 2
        if order not in ("combined", "distance"):
            assert gains == sorted(gains, reverse=True)
        assert gains[0] == max(gains)

    @pytest.mark.parametrize("order", ["combined", "uncertainty", "disagreement", "distance"])
    def test_of_equals_the_first_given_comes_first(self, tiny, order):
        image = noise_images(1, tiny.spec.image_size)
        same = HeldImages([f"copy{i}" for i in range(4)], image.pixels.repeat(4, 1, 1, 1))
        found = suggest(candidates(tiny, images=same, phrases=[[PHRASE]] * 4), order)
        assert [s.index for s in found] == [0, 1, 2, 3]

    @pytest.mark.parametrize("order", ["combined", "distance"])
    def test_an_image_that_is_labelled_already_comes_last(self, tiny, order):
        given = candidates(tiny)
        pixels = given.images.pixels.clone()
        pixels[0] = given.labelled.pixels[1]
        found = suggest(replace(given, images=HeldImages(given.images.names, pixels)), order)
        assert found[-1].index == 0
        assert found[-1].gain == pytest.approx(0, abs=1e-9)
        assert found[-1].reason.endswith(
            "the nearest image labelled is labelled1.png, at cosine distance 0.000"
        )

    @pytest.mark.parametrize("order", ["combined", "distance"])
    def test_a_copy_of_an_earlier_image_does_not_follow_it(self, tiny, order):
        given = candidates(tiny)
        first = suggest(given, order)[0].index
        pixels = torch.cat([given.images.pixels, given.images.pixels[first : first + 1]])
        names = [*given.images.names, "copy.png"]
        twice = replace(given, images=HeldImages(names, pixels), phrases=[[PHRASE]] * 7)
        found = suggest(twice, order)
        assert (found[0].index, found[-1].name) == (first, "copy.png")
        assert f"earlier in this list is {names[first]}, at cosine distance 0.000" in found[-1].reason


class TestNumbersAndWords:
    def test_uncertainty_is_of_the_first_checkpoint(self, tiny):
        given = candidates(tiny)
        for found in suggest(given, "uncertainty"):
            expected = expected_dice(logits_alone(given, "v0002", found.index), 0.5).item()
            assert found.gain == found.uncertainty == pytest.approx(1 - expected, abs=1e-5)
            assert f"'{PHRASE}'" in found.reason
            assert found.reason.endswith(f" {1 - found.uncertainty:.2f}")

    def test_disagreement_is_between_masks(self, tiny):
        given = candidates(tiny)
        found = suggest(given, "disagreement")
        for each in found:
            assert (
                each.gain == each.disagreement == pytest.approx(1 - dice_alone(given, each.index), abs=1e-6)
            )
        words = f"Dice {dice_alone(given, found[0].index):.2f} between v0002 and v0001 for 'bright half'"
        assert found[0].reason == f"two checkpoints disagree: {words}"

    def test_equal_checkpoints_agree(self, tiny):
        pack = random_pack(tiny)
        found = suggest(candidates(tiny, packs={"new": pack, "old": pack}), "disagreement")
        assert [s.gain for s in found] == [0] * 6
        assert found[0].reason == "two checkpoints agree: Dice 1.00 between new and old for 'bright half'"

    def test_the_phrase_and_the_checkpoint_of_most_dissent_are_named(self, tiny):
        given = candidates(tiny, phrases=[["bright half", "dark half"]] * 6)
        packs = {"a": given.packs["v0002"], "b": given.packs["v0002"], "c": random_pack(tiny, "vpt", seed=5)}
        for found in suggest(replace(given, packs=packs), "disagreement"):
            two = replace(given, packs={"a": packs["a"], "c": packs["c"]})
            dice = {phrase: dice_alone(two, found.index, phrase) for phrase in ("bright half", "dark half")}
            assert found.disagreement == pytest.approx(1 - min(dice.values()), abs=1e-6)
            assert f"between a and c for '{min(dice, key=dice.get)}'" in found.reason

    def test_combined_is_the_mean_of_both_times_distance(self, tiny):
        for found in suggest(candidates(tiny), "combined"):
            worth = (found.uncertainty + found.disagreement) / 2
            assert found.gain == pytest.approx(worth * found.distance)
            expects, dissent, distance = found.reason.split("; ")
            assert expects.endswith(f" {1 - found.uncertainty:.2f}")
            assert f"Dice {1 - found.disagreement:.2f} between" in dissent
            assert distance.endswith(f"distance {found.distance:.3f}")

    def test_combined_with_one_checkpoint_is_uncertainty_times_distance(self, tiny):
        for found in suggest(candidates(tiny, packs={"only": random_pack(tiny)}), "combined"):
            assert found.disagreement is None
            assert found.gain == pytest.approx(found.uncertainty * found.distance)
            assert "two checkpoints" not in found.reason

    def test_nothing_marked_is_said(self, tiny):
        sure = candidates(tiny, threshold=1.0)
        assert suggest(sure, "uncertainty")[0].reason.startswith("nothing is marked for 'bright half'")

    def test_without_labels_distance_says_so(self, tiny):
        nothing = HeldImages([], torch.zeros(0, 64, 64, 3, dtype=torch.uint8))
        first, second, *_ = suggest(candidates(tiny, labelled=nothing), "distance")
        assert (first.index, first.distance) == (0, None)
        assert first.reason == "nothing is labelled yet to be like or unlike"
        assert "earlier in this list is image0.png" in second.reason

    def test_random_and_as_is_say_what_they_are(self, tiny):
        drawn = suggest(candidates(tiny), "random", seed=4)
        assert drawn != suggest(candidates(tiny), "random", seed=5)
        assert drawn[1].reason == "drawn at random as number 2 (seed 4)"
        plain = suggest(candidates(tiny), "as-is")
        assert [s.index for s in plain] == list(range(6))
        assert plain[2].reason == "number 3 in the order given"
        assert {s.gain for s in drawn + plain} == {None}


class TestCost:
    def test_all_orders_together_encode_each_image_once(self, tiny):
        once = EncodedOnce(tiny)
        for order in ORDERS:
            suggest(candidates(once), order)
        assert once.encoded == 6 + 2

    def test_checkpoints_of_every_kind_can_be_compared(self, tiny_hybrid):
        packs = {name: random_pack(tiny_hybrid, name) for name in ("cocoop", "vpt", "maple", "coop")}
        found = suggest(candidates(tiny_hybrid, packs=packs), "combined")
        assert all(0 <= s.disagreement <= 1 and 0 <= s.uncertainty <= 1 for s in found)

    def test_a_cris_orders_too(self):
        cris = tiny_cris()
        found = suggest(candidates(cris, packs={"a": random_pack(cris), "b": ZERO_SHOT}), "combined")
        assert sorted(s.index for s in found) == list(range(6))

    def test_files_are_read_as_pictures_in_memory_are(self, tiny, tmp_path):
        given = candidates(tiny)
        paths = [tmp_path / name for name in given.images.names]
        for path, pixels in zip(paths, given.images.pixels, strict=True):
            Image.fromarray(pixels.numpy()).save(path)
        files = ImageFiles(given.images.names, paths, tiny.spec)
        assert suggest(replace(given, images=files), "combined") == suggest(given, "combined")
        paths[2].write_text("no picture")
        with pytest.raises(BadInputError, match=r"image2\.png cannot be read as an image"):
            suggest(replace(given, images=files), "distance")


class TestRefusals:
    @pytest.mark.parametrize(
        ("order", "changes", "error", "message"),
        [
            ("best", {}, UnknownNameError, "no order 'best'; there are combined, "),
            ("disagreement", {"packs": {"a": ZERO_SHOT}}, BadInputError, "asks at least 2 checkpoints"),
            ("combined", {"packs": {}}, BadInputError, "asks at least 1 checkpoints, but there are 0"),
            ("combined", {"phrases": [["x"]]}, BadInputError, "6 images need as many lists of phrases"),
            ("uncertainty", {"phrases": [[]] * 6}, BadInputError, r"image0\.png has no phrase"),
            ("uncertainty", {"phrases": [[" "]] * 6}, BadInputError, r"image0\.png has no phrase"),
            ("uncertainty", {"threshold": 1.5}, BadInputError, "threshold"),
        ],
    )
    def test_what_an_order_cannot_be_made_of_is_said(self, tiny, order, changes, error, message):
        with pytest.raises(error, match=message):
            suggest(candidates(tiny, **changes), order)

    def test_a_checkpoint_of_another_base_is_refused(self, tiny):
        fits = random_pack(tiny)
        other = replace(fits, text=fits.text[..., :-1])
        with pytest.raises(MismatchError):
            suggest(candidates(tiny, packs={"a": other, "b": ZERO_SHOT}), "combined")

    def test_distance_random_and_as_is_ask_no_checkpoint_and_no_phrase(self, tiny):
        for order in ("distance", "random", "as-is"):
            assert len(suggest(candidates(tiny, packs={}, phrases=[]), order)) == 6
