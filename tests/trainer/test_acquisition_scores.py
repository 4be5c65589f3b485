import numpy as np
import pytest
import torch

from models_store.presence import presence_of
from trainer.acquisition.scores import cosine_distances, expected_dice, masks_dice, unit_rows


def logits_of(probabilities) -> torch.Tensor:
    return torch.logit(torch.as_tensor(probabilities, dtype=torch.float64))[:, None]


class TestExpectedDice:
    def test_is_the_soft_dice_of_mask_and_probabilities(self):
        found = expected_dice(logits_of([[[0.9, 0.6], [0.4, 0.1]]]), 0.5)
        # The mask is the first row: 2 * (0.9 + 0.6) / (2 + 2.0).
        assert found.tolist() == pytest.approx([0.75])

    def test_is_near_the_mean_dice_of_masks_drawn_from_the_probabilities(self):
        rng = np.random.default_rng(0)
        probability = rng.beta(0.4, 0.6, (64, 64))
        mask = probability > 0.5
        drawn = rng.random((400, 64, 64)) < probability
        dice = 2 * (drawn & mask).sum((1, 2)) / (drawn.sum((1, 2)) + mask.sum())
        found = expected_dice(logits_of(probability[None]), 0.5).item()
        assert found == pytest.approx(dice.mean(), abs=0.002)

    def test_a_sure_mask_expects_more_than_an_unsure_one(self):
        sure, unsure = [[0.99, 0.01]], [[0.6, 0.4]]
        first, second = expected_dice(logits_of([sure, unsure]), 0.5).tolist()
        assert first > 0.98
        assert second == pytest.approx(0.6)

    def test_of_an_empty_mask_it_is_how_surely_the_thing_is_absent(self):
        logits = logits_of(np.full((2, 20, 20), 0.3) * [[[1]], [[1 / 30]]])
        found = expected_dice(logits, 0.5)
        assert torch.equal(found, 1 - presence_of(logits))
        assert found.tolist() == pytest.approx([0.7, 0.99])

    def test_the_threshold_decides_what_the_mask_is(self):
        logits = logits_of([[[0.9, 0.6]]])
        assert expected_dice(logits, 0.7).item() == pytest.approx(2 * 0.9 / (1 + 1.5))


class TestMasksDice:
    def test_rows_apart_and_two_empty_masks_agree(self):
        first = torch.tensor([[[1, 1, 0]], [[0, 0, 0]], [[1, 0, 0]]]).bool()
        second = torch.tensor([[[0, 1, 1]], [[0, 0, 0]], [[0, 0, 0]]]).bool()
        assert masks_dice(first, second).tolist() == [0.5, 1.0, 0.0]


class TestCosineDistances:
    def test_lengths_do_not_matter(self):
        one, other = np.array([[2.0, 0], [0, 0.1]]), np.array([[5.0, 0], [-1, 0], [1, 1]])
        found = cosine_distances(unit_rows(one), unit_rows(other))
        assert found == pytest.approx(np.array([[0, 2, 1 - 0.5**0.5], [1, 1, 1 - 0.5**0.5]]))

    def test_nothing_is_nearer_than_itself(self):
        features = unit_rows(np.random.default_rng(0).normal(size=(50, 7)))
        assert cosine_distances(features, features).min() >= 0
        assert cosine_distances(features, features).diagonal().max() < 1e-12

    def test_a_feature_of_zeros_is_at_a_right_angle_to_all(self):
        assert cosine_distances(unit_rows(np.zeros((1, 3))), unit_rows(np.ones((1, 3)))).tolist() == [[1.0]]
