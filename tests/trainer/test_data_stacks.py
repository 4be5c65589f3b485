import numpy as np
import torch

from trainer.data.stacks import MaskStack, PackedMask, SharedImages


def stack(n: int, side: int):
    masks = np.random.default_rng(side).random((n, side, side)) < 0.4
    return masks, MaskStack.of([PackedMask(mask) for mask in masks])


class TestPackedMask:
    def test_gives_back_what_was_packed(self):
        mask = np.random.default_rng(0).random((13, 7)) < 0.4
        packed = PackedMask(mask)
        assert np.array_equal(packed.unpack(), mask)
        assert packed.shape == (13, 7)

    def test_equals_the_same_mask_only(self):
        mask = np.random.default_rng(0).random((13, 7)) < 0.4
        assert PackedMask(mask).equals(PackedMask(mask.copy()))
        assert not PackedMask(mask).equals(PackedMask(~mask))
        assert not PackedMask(mask).equals(PackedMask(mask.reshape(7, 13)))


class TestMaskStack:
    def test_rows_come_back_as_they_were_by_tensor_slice_and_list(self):
        masks, packed = stack(5, 9)
        assert packed.shape == (5, 9, 9)
        assert np.array_equal(packed[torch.tensor([3, 0, 3])].numpy(), masks[[3, 0, 3]])
        assert np.array_equal(packed[1:4].numpy(), masks[1:4])
        assert np.array_equal(packed[[4]].numpy(), masks[[4]])
        assert packed[:].dtype == torch.bool

    def test_some_rows_stay_packed(self):
        masks, packed = stack(5, 8)
        assert np.array_equal(packed.select([4, 1])[:].numpy(), masks[[4, 1]])


class TestSharedImages:
    def test_rows_show_their_images_and_a_choice_keeps_only_what_it_needs(self):
        distinct = torch.arange(3 * 2 * 2 * 3, dtype=torch.uint8).reshape(3, 2, 2, 3)
        images = SharedImages(distinct, torch.tensor([0, 0, 1, 2, 2]))
        assert images.shape == (5, 2, 2, 3)
        assert torch.equal(images[1:4], distinct[[0, 1, 2]])
        assert torch.equal(images[torch.tensor([4, 0])], distinct[[2, 0]])
        chosen = images.select([4, 1, 3])
        assert torch.equal(chosen[:], distinct[[2, 0, 2]])
        assert len(chosen.distinct) == 2
