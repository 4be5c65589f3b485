import json

import numpy as np
import pytest
import torch
from data_files import write_camus, write_voc
from PIL import Image

from models_store.errors import BadInputError
from models_store.packs import ZERO_SHOT
from models_store.strategies import make_learner
from trainer.data.examples import load_examples
from trainer.data.folder import read_split
from trainer.evaluate import batched_logits, evaluate_examples
from trainer.metrics import Overlap
from trainer.multiclass import (
    LEFT_OUT,
    class_phrases,
    evaluate_multiclass,
    joint_truth,
    label_map,
)
from trainer.multiclass_figures import Counts, mean_over_classes

CPU = torch.device("cpu")


def logits_of(*probabilities):
    """Logits [K, 1, 2, 2] of probabilities at four pixels."""
    return torch.logit(torch.tensor(probabilities)).reshape(len(probabilities), 1, 2, 2)


class TestLabelMap:
    def test_the_likeliest_class_wins_where_it_exceeds_the_threshold(self):
        logits = logits_of([0.9, 0.6, 0.4, 0.2], [0.8, 0.7, 0.3, 0.45])
        assert label_map(logits, (2, 2)).tolist() == [[1, 2], [0, 0]]
        assert label_map(logits, (2, 2), 0.35).tolist() == [[1, 2], [1, 2]]
        assert label_map(logits, (2, 2), 0.95).tolist() == [[0, 0], [0, 0]]

    def test_has_the_size_asked_for_and_room_for_many_classes(self):
        logits = torch.full((254, 1, 4, 4), -9.0)
        logits[253] = 9.0
        labels = label_map(logits, (7, 5))
        assert labels.shape == (7, 5)
        assert labels.dtype == np.uint8
        assert (labels == 254).all()
        with pytest.raises(BadInputError, match="1 to 254 classes, not 255"):
            label_map(torch.zeros(255, 1, 4, 4), (4, 4))
        with pytest.raises(BadInputError, match=r"outside 0\.\.1"):
            label_map(logits, (4, 4), 2.0)


class TestTruth:
    def test_classes_and_pixels_left_out(self, shared_data, tiny):
        folder = shared_data / "camvid"
        items = read_split(folder, "val")
        chosen = [item for item in items if item.image_path == items[0].image_path]
        examples = load_examples(chosen, tiny.spec)
        names = json.loads((folder / "classes.json").read_text())
        numbers = {name: int(index) + 1 for index, name in names.items()}
        labels = joint_truth(examples, list(range(len(chosen))), numbers)
        indices = np.array(Image.open(chosen[0].mask_path))
        assert np.array_equal(labels, np.where(indices == 11, LEFT_OUT, indices + 1))

    def test_a_pixel_that_two_classes_claim_is_left_out(self, tmp_path, tiny):
        folder = write_voc(tmp_path / "voc")
        both = folder / "annotations" / "training"
        cat, sofa = (np.array(Image.open(both / name / "2007_1.png")) for name in ("cat", "sofa"))
        sofa[:, 10:15] = cat[:, 10:15]
        Image.fromarray(sofa).save(both / "sofa" / "2007_1.png")
        examples = load_examples(read_split(folder, "train"), tiny.spec)
        labels = joint_truth(examples, [0, 1], {"cat": 1, "sofa": 2})
        assert (labels[4:30, 10:15] == LEFT_OUT).all()
        assert (labels[4:30, :10] == 1).all()
        assert (labels[4:30, 20:35] == 2).all()
        assert (labels[:4] == 0).all()


class TestCounts:
    def test_maps_count_all_classes_but_not_pixels_left_out(self):
        counts = Counts(1, 2)
        labels = np.array([[1, 1, 2, 0, 2]], np.uint8)
        truth = np.array([[1, 2, 2, 1, LEFT_OUT]], np.uint8)
        counts.add_maps(0, labels, truth, LEFT_OUT)
        assert counts.both.tolist() == [[1, 1]]
        assert counts.predicted.tolist() == [[2, 1]]
        assert counts.truth.tolist() == [[2, 2]]
        assert counts.dice().tolist() == [[0.5, 2 / 3]]

    def test_pooled_figures_weigh_pixels_and_skip_classes_that_are_nowhere(self):
        counts = Counts(2, 3)
        counts.add(0, 0, Overlap(10, 10, 10))
        counts.add(1, 0, Overlap(0, 30, 0))
        counts.add(0, 1, Overlap(5, 5, 10))
        dice = counts.pooled()
        assert [None if each is None else each.mean for each in dice.classes] == [
            pytest.approx(20 / 50),
            pytest.approx(10 / 15),
            None,
        ]
        assert dice.mean.mean == pytest.approx((20 / 50 + 10 / 15) / 2)
        assert counts.pooled(iou=True).classes[0].mean == pytest.approx(10 / 40)
        # Drawn twice, the second image alone leaves the first class no hit.
        assert dice.classes[0].low == 0

    def test_the_mean_over_classes_weighs_each_class_alike(self):
        values = np.array([[1.0, 0.2], [0.0, 0.9], [0.5, 0.9]])
        counted = np.array([[True, True], [True, False], [True, False]])
        found = mean_over_classes(values, counted)
        assert found.mean == pytest.approx((0.5 + 0.2) / 2)
        assert found.low <= found.mean <= found.high
        assert found.n == 3
        assert mean_over_classes(values, np.zeros_like(counted)) is None
        assert Counts(3, 2).pooled().mean is None
        assert mean_over_classes(np.full((4, 2), 0.3), np.ones((4, 2), np.bool_)).low == pytest.approx(0.3)


@pytest.fixture(scope="module")
def scenes(shared_data, tiny):
    """Five road scenes, a row per present class."""
    items = read_split(shared_data / "camvid", "val")
    paths = sorted({item.image_path for item in items})[::25]
    return load_examples([item for item in items if item.image_path in paths], tiny.spec)


class TestEvaluate:
    @pytest.mark.parametrize("strategy", [None, "vpt", "cocoop"])
    def test_the_binarised_way_is_what_asking_each_row_gives(self, tiny, scenes, strategy):
        pack = ZERO_SHOT if strategy is None else make_learner(strategy, tiny, depth=2, n=2, seed=3).fold()
        found = evaluate_multiclass(tiny, pack, scenes, device=CPU, threshold=0.4, batch_size=3)
        single = evaluate_examples(tiny, pack, scenes, device=CPU, threshold=0.4)
        for figures in found.classes:
            rows = [
                score.counts.dice
                for score, item in zip(single.scores, scenes.items, strict=True)
                if item.class_name == figures.name
            ]
            assert figures.binarised.n == len(rows)
            assert figures.binarised.mean == pytest.approx(np.mean(rows), abs=2e-3)
        means = [figures.binarised.mean for figures in found.classes]
        assert found.binarised.mean == pytest.approx(np.mean(means))

    def test_the_joint_way_is_what_the_label_map_gives(self, tiny, scenes):
        found = evaluate_multiclass(tiny, ZERO_SHOT, scenes, device=CPU, threshold=0.4)
        classes = class_phrases(scenes)
        numbers = {name: k for k, name in enumerate(classes, start=1)}
        both, total = np.zeros(len(classes)), np.zeros(len(classes))
        for rows in scenes.rows_by_image():
            asked = load_examples([scenes.items[rows[0]]] * len(classes), tiny.spec)
            object.__setattr__(asked, "phrases", tuple((phrase,) for phrase in classes.values()))
            batches = batched_logits(tiny, ZERO_SHOT, asked, device=CPU, batch_size=64)
            labels = label_map(next(logits for _, logits in batches), asked.truths[0].shape, 0.4)
            truth = joint_truth(scenes, rows, numbers)
            for k in numbers.values():
                mine, there = labels[truth != LEFT_OUT] == k, truth[truth != LEFT_OUT] == k
                both[k - 1] += (mine & there).sum()
                total[k - 1] += mine.sum() + there.sum()
        dice = 2 * both / total
        for k, figures in enumerate(found.classes):
            assert figures.joint_pooled.mean == pytest.approx(dice[k], abs=2e-3)
        assert found.joint_pooled.mean == pytest.approx(dice.mean(), abs=2e-3)

    def test_each_image_and_each_phrase_is_encoded_once(self, tiny, scenes):
        encoded = {"images": 0, "phrases": 0}

        class Counting:
            def __init__(self, inner):
                self._inner = inner

            def __getattr__(self, name):
                return getattr(self._inner, name)

            def encode_image(self, pixels, *rest, **options):
                encoded["images"] += len(pixels)
                return self._inner.encode_image(pixels, *rest, **options)

            def encode_text(self, tokens, *rest):
                encoded["phrases"] += len(tokens)
                return self._inner.encode_text(tokens, *rest)

        evaluate_multiclass(Counting(tiny), ZERO_SHOT, scenes, device=CPU)
        assert encoded == {"images": 5, "phrases": 11}

    def test_the_summary_is_json_with_every_class(self, tiny, scenes):
        progress = []
        found = evaluate_multiclass(
            tiny, ZERO_SHOT, scenes, device=CPU, progress=lambda done, of: progress.append((done, of))
        )
        summary = json.loads(json.dumps(found.summary(), allow_nan=False))
        assert len(summary["classes"]) == 11
        assert summary["images"] == 5
        assert set(summary["mean"]) == {
            "binarised_dice",
            "joint_dice",
            "joint_pooled_dice",
            "joint_pooled_iou",
        }
        assert progress[-1] == (5, 5)

    def test_classes_that_are_nowhere_have_no_figures_but_may_be_told_apart(self, tmp_path, tiny):
        examples = load_examples(read_split(write_voc(tmp_path / "voc"), "train"), tiny.spec)
        classes = class_phrases(examples) | {"zebra": "a zebra"}
        found = evaluate_multiclass(tiny, ZERO_SHOT, examples, device=CPU, classes=classes, threshold=0.99)
        assert found.classes[-1].name == "zebra"
        assert found.classes[-1].phrase == "a zebra"
        assert found.classes[-1].binarised is None
        with pytest.raises(BadInputError, match="among which sofa must be"):
            evaluate_multiclass(tiny, ZERO_SHOT, examples, device=CPU, classes={"cat": "", "pottedplant": ""})

    def test_phrases_are_classes_where_a_dataset_names_none(self, tmp_path, tiny):
        examples = load_examples(read_split(write_camus(tmp_path / "camus"), "train"), tiny.spec)
        found = evaluate_multiclass(tiny, ZERO_SHOT, examples, device=CPU)
        assert [figures.name for figures in found.classes] == [
            "Left atrium cavity of the heart.",
            "Left ventricular cavity of the heart.",
            "Myocardium of the heart.",
        ]
        assert all(figures.binarised.n == 2 for figures in found.classes)
