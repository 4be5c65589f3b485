import pytest
import torch
from toy_data import edit_split, write_toy
from tuning_parts import CPU, toy_examples

from trainer.augment import Augmentation
from trainer.tuning.batches import BatchSource
from trainer.tuning.loss import dice_ce


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_toy(tmp_path_factory.mktemp("data") / "toy", train=10, val=2)
    edit_split(folder, "train", lambda entries: entries[0]["prompts"].update(p1=["one", "two"]))
    return folder


def source(folder, vlsm, **changes):
    options = {"batch_size": 4, "min_steps": 1, "seed": 3, "augmentation": Augmentation()} | changes
    examples = toy_examples(folder, vlsm, "train")
    return BatchSource(examples=examples, spec=vlsm.spec, device=CPU, **options)


def shown(batches, steps, epoch=0):
    return torch.cat([batches.batch(epoch, step).pixels for step in range(steps)]).flatten(1)


class TestBatchSource:
    def test_an_epoch_shows_every_image_once(self, tiny, folder):
        batches = source(folder, tiny, augmentation=None)
        assert batches.steps == 3
        assert len(batches.batch(0, 2).pixels) == 2
        assert len(shown(batches, 3).unique(dim=0)) == 10

    def test_few_images_are_repeated_evenly_up_to_the_least_number_of_steps(self, tiny, folder):
        batches = source(folder, tiny, augmentation=None, min_steps=10)
        assert batches.steps == 10
        _, counts = shown(batches, 10).unique(dim=0, return_counts=True)
        assert counts.tolist() == [4] * 10

    def test_a_step_is_the_same_whatever_ran_before(self, tiny, folder):
        one, other = source(folder, tiny), source(folder, tiny)
        for step in range(3):
            one.batch(0, step)
        first, second = one.batch(1, 2), other.batch(1, 2)
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.masks, second.masks)
        assert first.phrases == second.phrases

    def test_epochs_and_seeds_differ_in_order(self, tiny, folder):
        batches = source(folder, tiny, augmentation=None)
        assert not torch.equal(shown(batches, 3), shown(batches, 3, epoch=1))
        assert not torch.equal(shown(batches, 3), shown(source(folder, tiny, augmentation=None, seed=4), 3))

    def test_draws_among_several_phrases(self, tiny, folder):
        batches = source(folder, tiny, augmentation=None)
        drawn = {p for epoch in range(12) for step in range(3) for p in batches.batch(epoch, step).phrases}
        assert {"one", "two"} < drawn


class TestDiceCE:
    def test_is_dice_plus_a_fifth_of_cross_entropy(self):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(3, 1, 6, 5, generator=generator)
        target = torch.rand(3, 1, 6, 5, generator=generator) > 0.5
        p, t = logits.sigmoid(), target.float()
        dice = 1 - 2 * (p * t).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)))
        entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        assert dice_ce(logits, target).item() == pytest.approx((dice.mean() + 0.2 * entropy).item(), abs=1e-5)
