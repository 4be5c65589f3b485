import numpy as np

from trainer.pretrain.moles import draw_mole


def test_a_lesion_is_darker_than_the_skin_around_it():
    darker = 0
    for seed in range(60):
        image, mask = draw_mole(np.random.default_rng(seed), 96)
        assert image.shape == (96, 96, 3)
        assert mask.shape == (96, 96)
        grey = image.mean(axis=2)
        around = (mask == 0) & (grey > 20)
        if mask.sum() > 50 and around.any():
            darker += np.median(grey[mask > 0]) < np.median(grey[around])
    assert darker > 45


def test_lesions_vary_in_size_and_never_fill_the_picture():
    shares = [draw_mole(np.random.default_rng(seed), 64)[1].mean() for seed in range(80)]
    assert max(shares) < 0.75
    assert np.quantile(shares, 0.2) < 0.05
    assert np.quantile(shares, 0.8) > 0.12
