import numpy as np

from trainer.pretrain.scenes import COLOURS, draw_scene


def scenes(count: int, side: int = 96):
    return [draw_scene(np.random.default_rng([7, i]), side) for i in range(count)]


def test_a_scene_is_a_pure_function_of_its_generator():
    first, again = draw_scene(np.random.default_rng(3), 64), draw_scene(np.random.default_rng(3), 64)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[2] == again[2]


def test_shapes_and_ranges():
    image, mask, phrase = draw_scene(np.random.default_rng(1), 80)
    assert image.shape == (80, 80, 3)
    assert image.dtype == np.uint8
    assert mask.shape == (80, 80)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    assert phrase


def test_the_masked_pixels_have_the_colour_the_phrase_names():
    checked, right = 0, 0
    for image, mask, phrase in scenes(400):
        named = [c for c in ("red", "green", "blue", "yellow", "purple") if c in phrase.split()]
        if len(named) != 1 or mask.sum() < 40:
            continue
        inside = np.median(image[mask > 0], axis=0)
        distance = {c: np.linalg.norm(inside - np.array(COLOURS[c])) for c in COLOURS}
        nearest = sorted(distance, key=distance.__getitem__)[:3]
        checked += 1
        right += named[0] in nearest
    assert checked > 60
    # Thin and faint things blend with the ground, so not every median is close.
    assert right > 0.9 * checked


def test_some_phrases_name_what_is_not_there():
    empty = sum(mask.sum() == 0 for _, mask, _ in scenes(300))
    assert 30 < empty < 120


def test_place_words_are_true():
    for _, mask, phrase in scenes(400):
        if mask.sum() == 0:
            continue
        x = np.nonzero(mask)[1].mean() / mask.shape[1]
        if phrase.endswith("at the left"):
            assert x < 0.5, phrase
        if phrase.endswith("at the right"):
            assert x > 0.5, phrase
