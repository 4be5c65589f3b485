from collections import Counter

import pytest
import torch
from toy_data import edit_split, write_toy
from tuning_parts import CPU, toy_examples

from trainer.augment import Augmentation
from trainer.tuning.batches import BatchSource
from trainer.tuning.loss import dice_ce
from trainer.tuning.views import Views


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_toy(tmp_path_factory.mktemp("data") / "toy", train=10, val=2)
    edit_split(folder, "train", lambda entries: entries[0]["prompts"].update(p1=["one", "two"]))
    return folder


def source(folder, vlsm, augmentation=None, views=4, **changes):
    options = {"batch_size": 4, "min_steps": 1, "seed": 3} | changes
    examples = toy_examples(folder, vlsm, "train")
    shown = Views(examples, vlsm.spec, seed=3, augmentation=augmentation, count=views)
    return BatchSource(examples=examples, views=shown, device=CPU, **options)


def shown(batches, steps, epoch=0):
    return [key for step in range(steps) for key in batches.batch(epoch, step).views]


class TestBatchSource:
    def test_an_epoch_shows_every_image_once(self, tiny, folder):
        batches = source(folder, tiny)
        assert batches.steps == 3
        assert len(batches.batch(0, 2).views) == 2
        assert sorted(key.image for key in shown(batches, 3)) == list(range(10))

    def test_few_images_are_repeated_evenly_up_to_the_least_number_of_steps(self, tiny, folder):
        batches = source(folder, tiny, min_steps=10)
        assert batches.steps == 10
        assert sorted(Counter(shown(batches, 10)).values()) == [4] * 10

    def test_many_rows_are_cut_to_the_most_steps_and_drawn_anew_each_epoch(self, tiny, folder):
        batches = source(folder, tiny, max_steps=2)
        assert batches.steps == 2
        images = [{key.image for key in shown(batches, 2, epoch)} for epoch in range(4)]
        assert {len(of_epoch) for of_epoch in images} == {8}
        assert len(set.union(*images)) == 10

    def test_a_step_is_the_same_whatever_ran_before(self, tiny, folder):
        one, other = (source(folder, tiny, Augmentation()) for _ in range(2))
        for step in range(3):
            one.batch(0, step)
        first, second = one.batch(1, 2), other.batch(1, 2)
        assert first.views == second.views
        assert torch.equal(first.masks, second.masks)
        assert first.phrases == second.phrases

    def test_epochs_and_seeds_differ_in_order(self, tiny, folder):
        batches = source(folder, tiny)
        assert shown(batches, 3) != shown(batches, 3, epoch=1)
        assert shown(batches, 3) != shown(source(folder, tiny, seed=4), 3)

    def test_draws_among_several_phrases(self, tiny, folder):
        batches = source(folder, tiny)
        drawn = {p for epoch in range(12) for step in range(3) for p in batches.batch(epoch, step).phrases}
        assert {"one", "two"} < drawn

    @pytest.mark.parametrize("parts", [2, 3])
    def test_the_parts_of_a_step_are_the_step(self, tiny, folder, parts):
        whole, parted = (
            source(folder, tiny, batch_size=6),
            source(folder, tiny, batch_size=6 // parts, parts=parts),
        )
        assert whole.steps == parted.steps == 2
        for step in range(2):
            expected, pieces = whole.batch(0, step), [parted.batch(0, step, part) for part in range(parts)]
            assert [key for piece in pieces for key in piece.views] == expected.views
            assert torch.equal(torch.cat([piece.masks for piece in pieces]), expected.masks)
            assert [text for piece in pieces for text in piece.phrases] == expected.phrases
            assert sum(piece.share for piece in pieces) == pytest.approx(1)

    def test_a_short_step_may_leave_a_part_nothing(self, tiny, folder):
        parted = source(folder, tiny, batch_size=3, parts=3)
        assert [parted.batch(0, 1, part) is None for part in range(3)] == [False, True, True]

    def test_epochs_go_round_in_the_views(self, tiny, folder):
        batches = source(folder, tiny, Augmentation(), views=3)
        epochs = [set(shown(batches, 3, epoch)) for epoch in range(6)]
        assert epochs[:3] == epochs[3:]
        assert len(set().union(*epochs)) > 12

    def test_joint_batches_take_all_classes_of_an_image(self, tiny, tmp_path):
        folder = write_toy(tmp_path / "toy", train=4, val=1)
        edit_split(folder, "train", add_a_second_class)
        batches = source(folder, tiny, joint=True, batch_size=2)
        assert batches.steps == 2
        batch = batches.batch(0, 0)
        assert (len(batch.views), len(batch.phrases)) == (2, 4)
        assert batch.at.tolist() == [0, 0, 1, 1]
        assert sorted(set(batch.phrases)) == ["bright half", "other"]


def add_a_second_class(entries):
    entries += [entry | {"prompts": {"p1": "other"}} for entry in list(entries)]


class TestDiceCE:
    def test_is_dice_plus_a_fifth_of_cross_entropy(self):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(3, 1, 6, 5, generator=generator)
        target = torch.rand(3, 1, 6, 5, generator=generator) > 0.5
        p, t = logits.sigmoid(), target.float()
        dice = 1 - 2 * (p * t).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)))
        entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        assert dice_ce(logits, target).item() == pytest.approx((dice.mean() + 0.2 * entropy).item(), abs=1e-5)

    def test_pixels_left_out_change_nothing(self):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, 1, 6, 5, generator=generator).requires_grad_()
        target = (torch.rand(2, 1, 6, 5, generator=generator) > 0.5).float()
        ignore = torch.zeros(2, 1, 6, 5, dtype=torch.bool)
        ignore[:, :, :, 3:] = True
        loss = dice_ce(logits, target, ignore)
        assert loss.item() == pytest.approx(dice_ce(logits[..., :3], target[..., :3]).item(), abs=1e-5)
        loss.backward()
        assert logits.grad[ignore].abs().max() == 0
        assert dice_ce(logits, target, torch.zeros_like(ignore)).item() == dice_ce(logits, target).item()
