import dataclasses

import numpy as np
import pytest
import torch

from trainer.pretrain.augment import augment
from trainer.pretrain.batches import BatchSource, Corpus, absent_phrases, content_words
from trainer.pretrain.recipe import DatasetRow, read_recipe


def row(name: str, flips: str = "any") -> DatasetRow:
    return DatasetRow(name, 1.0, flips, (0.9, 1.2), ())


def disc(side: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc off centre on black, and its mask."""
    y, x = np.mgrid[:side, :side]
    mask = (x - side * 0.4) ** 2 + (y - side * 0.55) ** 2 < (side * 0.2) ** 2
    return np.repeat((mask * 220).astype(np.uint8)[..., None], 3, axis=2), mask


@pytest.fixture
def source() -> BatchSource:
    recipe = read_recipe()
    schedule = dataclasses.replace(
        recipe.schedule, batch=40, sizes=(48, 64), decay_sizes=(80,), decay_batch=4
    )
    image, mask = disc()
    corpora = [
        Corpus(row("livers"), [image], [mask], [["liver", "the liver in a CT slice"]], [0]),
        Corpus(row("isic2017_skin_mini"), [image], [mask], [["skin lesion", "mole"]], [0]),
    ]
    return BatchSource(dataclasses.replace(recipe, schedule=schedule), corpora)


def test_a_batch_is_a_pure_function_of_its_step(source: BatchSource):
    first, again, other = source.batch(5), source.batch(5), source.batch(6)
    assert torch.equal(first.pixels, again.pixels)
    assert first.phrases == again.phrases
    assert first.phrases != other.phrases


def test_the_stream_gives_the_same_batches_in_order(source: BatchSource):
    streamed = list(source.stream(3, 6))
    assert [step for step, _ in streamed] == [3, 4, 5]
    assert torch.equal(streamed[1][1].target, source.batch(4).target)


def test_phrases_for_absent_things_have_empty_masks(source: BatchSource):
    own = {"liver", "the liver in a CT slice", "skin lesion", "mole"}
    absent = set(source.recipe.absent_train)
    seen = 0
    for step in range(4):
        batch = source.batch(step)
        for phrase, target in zip(batch.phrases, batch.target, strict=True):
            if phrase in absent:
                seen += 1
                assert target.sum() == 0
            elif phrase in own and target.sum() > 0:
                assert target.max() == 1
    assert seen > 0


def test_later_every_image_is_asked_for_two_things(source: BatchSource):
    batch = source.batch(source.recipe.schedule.pairs_from)
    images = len(batch.pixels)
    assert batch.rows.tolist() == [i for i in range(images) for _ in range(2)]
    assert len(batch.phrases) == len(batch.target) == 2 * images
    own = {"liver", "the liver in a CT slice", "skin lesion", "mole"}
    absent = set(source.recipe.absent_train)
    for first, second, target in zip(
        batch.phrases[::2], batch.phrases[1::2], batch.target[1::2], strict=True
    ):
        if first in own:
            assert second in own | absent
            assert target.sum() == 0


def test_the_decay_has_its_own_size_and_batch(source: BatchSource):
    last = source.recipe.schedule.last_step - 1
    assert source.batch(last).pixels.shape == (4, 80, 80, 3)


def test_held_out_things_are_never_drawn():
    recipe = read_recipe()
    assert not set(recipe.absent_train) & set(recipe.absent_held_out)


def test_absent_phrases_share_no_content_word():
    assert content_words("The livers in a CT-slice") == {"liver", "ct", "slice"}
    assert absent_phrases(["skin lesion"], ["enhancing lesion", "liver", "a mole"]) == ["liver", "a mole"]


@pytest.mark.parametrize("flips", ["horizontal", "any", "some"])
def test_mask_and_image_move_together(flips: str):
    image, mask = disc(90)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moved, target = augment(rng, image, mask, 64, row("x", flips))
        if target.sum() < 30 or target.sum() > 3000:
            continue
        inside, outside = moved[target > 0.9].mean(), moved[target < 0.1].mean()
        assert abs(inside - outside) > 40, seed


def test_learning_rate_warms_up_holds_and_decays():
    schedule = read_recipe().schedule
    assert schedule.factor(0) < 0.02
    assert schedule.factor(schedule.warmup) == 1
    assert schedule.factor(schedule.decay_start) == pytest.approx(1)
    assert schedule.factor(schedule.steps - 1) < 0.02


def test_the_polish_goes_up_to_its_rate_and_down():
    schedule = read_recipe().schedule
    polish = [schedule.factor(step) for step in range(schedule.steps, schedule.last_step)]
    assert max(polish) == pytest.approx(schedule.polish_rate)
    assert polish.index(max(polish)) == schedule.polish_warmup - 1
    assert polish[-1] < 0.02


def test_lookalikes_come_only_from_their_step_on(source: BatchSource):
    """Before it, a batch is what it was before there were look-alikes."""
    with_none = BatchSource(dataclasses.replace(source.recipe, lookalike_share=0.0), source.corpora)
    start = source.recipe.schedule.lookalikes_from
    assert torch.equal(source.batch(start - 1).pixels, with_none.batch(start - 1).pixels)
    assert not torch.equal(source.batch(start).pixels, with_none.batch(start).pixels)


def test_images_left_out_are_not_drawn_after_curation(source: BatchSource):
    """Every corpus gets a second image that is left out, with a phrase of its own."""
    black, full = np.zeros((60, 60, 3), np.uint8), np.ones((60, 60), bool)
    corpora = [
        dataclasses.replace(
            corpus,
            images=[*corpus.images, black],
            masks=[*corpus.masks, full],
            phrases=[[f"shown{name}"], [f"hidden{name}"]],
        )
        for corpus, name in zip(source.corpora, ("first", "second"), strict=True)
    ]
    both = BatchSource(source.recipe, corpora)
    start = source.recipe.schedule.curated_from

    def marked(step: int) -> list[str]:
        """Phrases whose mask is not empty; hidden ones also serve as names of absent things."""
        batch = both.batch(step)
        return [p for p, target in zip(batch.phrases, batch.target, strict=True) if target.sum() > 0]

    assert any("hidden" in phrase for step in range(start - 8, start) for phrase in marked(step))
    assert not any("hidden" in phrase for step in range(start, start + 8) for phrase in marked(step))
