import pytest
import torch

from trainer.augment import SHIFT, Augmentation

SIDE = 48


@pytest.fixture(scope="module")
def augmentation():
    return Augmentation()


def squares(count):
    """An off-centre square on each image, equal to its mask."""
    masks = torch.zeros(count, 1, SIDE, SIDE)
    masks[:, :, 6:26, 8:22] = 1
    return masks.expand(-1, 3, -1, -1) * 0.6 + 0.2, masks


class TestAugmentation:
    def test_the_same_seed_gives_the_same_batch_whatever_the_global_state(self, augmentation):
        images, masks = squares(8)
        torch.manual_seed(1)
        first = augmentation(images, masks, seed=(5, 0, 3))
        torch.manual_seed(2)
        second = augmentation(images, masks, seed=(5, 0, 3))
        other = augmentation(images, masks, seed=(5, 0, 4))
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
        assert not torch.equal(first[0], other[0])

    def test_leaves_the_global_generator_alone(self, augmentation):
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        augmentation(*squares(4), seed=(1,))
        assert torch.equal(torch.rand(3), expected)

    def test_changes_about_a_fifth_of_shapes_and_of_tones(self, augmentation):
        images, masks = squares(600)
        changed, moved = augmentation(images, masks, seed=(0,))
        shapes = (moved != masks).flatten(1).any(1)
        tones = ((changed[:, :, -1, -1] - 0.2).abs() > 1e-4).any(1)
        assert 0.13 < shapes.float().mean() < 0.27
        assert 0.13 < tones.float().mean() < 0.27

    def test_masks_stay_masks_and_images_in_range(self, augmentation):
        changed, moved = augmentation(*squares(200), seed=(1,))
        assert moved.unique().tolist() == [0, 1]
        assert changed.min() >= 0
        assert changed.max() <= 1

    def test_moves_are_slight_and_nothing_is_flipped(self, augmentation):
        _, masks = squares(400)
        _, moved = augmentation(*squares(400), seed=(2,))
        both = (moved * masks).sum((1, 2, 3))
        assert (2 * both / (moved + masks).sum((1, 2, 3))).min() > 0.75
        at = torch.arange(SIDE).float()
        centre = (moved.sum((1, 2)) * at).sum(1) / moved.sum((1, 2, 3))
        home = (masks.sum((1, 2)) * at).sum(1) / masks.sum((1, 2, 3))
        # Rotation about the middle of the image adds to the shift.
        assert (centre - home).abs().max() < SHIFT * SIDE + 2.5

    def test_image_and_mask_move_together(self, augmentation):
        images, masks = squares(200)
        changed, moved = augmentation(images, masks, seed=(3,))
        shaped = (moved != masks).flatten(1).any(1)
        toned = (changed[:, :, -1, -1] - 0.2).abs().amax(1) > 1e-4
        plain = shaped & ~toned
        assert plain.sum() > 10
        seen = (changed[plain].mean(1, keepdim=True) > 0.5).float()
        assert (seen != moved[plain]).float().mean() < 0.02
