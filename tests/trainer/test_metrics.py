import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from torchmetrics.classification import BinaryJaccardIndex

from trainer.metrics import Overlap, bootstrap_mean, hausdorff95, overlap, pooled_iou


def random_masks(count, seed):
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 1, (count, 2, 1, 1))
    pairs = rng.random((count, 2, 13, 17)) < shares
    pairs[0] = False
    pairs[1, 0] = False
    pairs[2, 1] = False
    return pairs[:, 0], pairs[:, 1]


class TestOverlap:
    def test_dice_and_iou_per_image_are_those_of_monai_with_empty_counted_as_agreement(self):
        predictions, truths = random_masks(30, seed=1)
        ours = [overlap(p, t) for p, t in zip(predictions, truths, strict=True)]
        p, t = (torch.from_numpy(m)[:, None].float() for m in (predictions, truths))
        dice = compute_dice(p, t, include_background=True, ignore_empty=False).flatten()
        iou = compute_iou(p, t, include_background=True, ignore_empty=False).flatten()
        assert torch.allclose(torch.tensor([o.dice for o in ours]), dice)
        assert torch.allclose(torch.tensor([o.iou for o in ours]), iou)

    def test_pooled_iou_is_that_of_torchmetrics(self):
        predictions, truths = random_masks(30, seed=2)
        ours = pooled_iou([overlap(p, t) for p, t in zip(predictions, truths, strict=True)])
        theirs = BinaryJaccardIndex()(torch.from_numpy(predictions).float(), torch.from_numpy(truths).int())
        assert ours == pytest.approx(theirs.item(), abs=1e-6)

    def test_two_empty_masks_agree(self):
        assert (Overlap(0, 0, 0).dice, Overlap(0, 0, 0).iou) == (1.0, 1.0)

    def test_one_empty_mask_is_a_complete_miss(self):
        assert (Overlap(0, 5, 0).dice, Overlap(0, 0, 5).iou) == (0.0, 0.0)

    def test_masks_of_different_size_are_refused(self):
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
            overlap(np.zeros((2, 3), np.bool_), np.zeros((3, 2), np.bool_))


class TestBootstrapMean:
    def test_agrees_with_the_normal_interval_of_many_values(self):
        values = np.random.default_rng(0).normal(0.5, 0.1, 400)
        found = bootstrap_mean(values.tolist(), seed=1)
        error = values.std() / np.sqrt(400)
        assert found.n == 400
        assert found.mean == pytest.approx(values.mean())
        assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
        assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)

    def test_is_decided_by_its_seed(self):
        values = np.random.default_rng(0).random(50).tolist()
        assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
        assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)

    def test_of_nothing_is_refused(self):
        with pytest.raises(ValueError, match="no values"):
            bootstrap_mean([])


class TestHausdorff95:
    # MONAI 1.6 passes itself an argument it calls deprecated.
    @pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
    def test_is_that_of_monai(self):
        rng = np.random.default_rng(5)
        for _ in range(25):
            blobs = [np.zeros((41, 53), np.bool_) for _ in range(2)]
            for mask in blobs:
                for _ in range(rng.integers(1, 4)):
                    top, left = rng.integers(0, 35), rng.integers(0, 45)
                    mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
            p, t = (torch.from_numpy(m)[None, None].float() for m in blobs)
            theirs = compute_hausdorff_distance(p, t, include_background=True, percentile=95).item()
            assert hausdorff95(*blobs) == pytest.approx(theirs, abs=1e-4)

    def test_counts_pixels_between_surfaces(self):
        prediction, truth = (np.zeros((20, 30), np.bool_) for _ in range(2))
        prediction[:, :10], truth[:, :17] = True, True
        assert hausdorff95(prediction, truth) == 7
        assert hausdorff95(truth, truth) == 0

    def test_two_empty_masks_agree_and_one_leaves_it_undefined(self):
        empty, full = np.zeros((4, 5), np.bool_), np.ones((4, 5), np.bool_)
        assert hausdorff95(empty, empty) == 0
        assert np.isnan(hausdorff95(empty, full))
        assert np.isnan(hausdorff95(full, empty))


class TestIgnoredPixels:
    def test_count_for_nothing(self):
        rng = np.random.default_rng(6)
        prediction, truth = (rng.random((9, 11)) < 0.5 for _ in range(2))
        ignored = np.zeros((9, 11), np.bool_)
        ignored[:, 6:] = True
        inside = overlap(prediction[:, :6], truth[:, :6])
        assert overlap(prediction, truth, ignored) == inside
        assert overlap(prediction, truth) != inside
        assert hausdorff95(prediction, truth, ignored) == hausdorff95(prediction[:, :6], truth[:, :6])

    def test_must_have_the_masks_shape(self):
        mask = np.ones((3, 3), np.bool_)
        for measure in (overlap, hausdorff95):
            with pytest.raises(ValueError, match=r"\(3, 2\)"):
                measure(mask, mask, np.ones((3, 2), np.bool_))
