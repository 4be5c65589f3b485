import json

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import edit_split, write_toy

from models_store.errors import BadInputError, MismatchError, UnknownNameError
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.preprocess import to_image_size, to_pixels
from models_store.strategies import make_learner
from trainer.comparison import comparison_report, figures_table
from trainer.data.folder import read_split
from trainer.evaluate import evaluate, evaluate_examples, evaluation_examples
from trainer.scores import paired_difference

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=3, val=5)


def own_masks(vlsm, pack, folder):
    """Replace the truths of ``val`` by the model's own masks, made the way serving does.

    Returns:
        The threshold of those masks, at which each image has both mask and background.
    """
    probabilities = []
    for item in read_split(folder, "val"):
        image = item.image()
        tokens = vlsm.tokenize(item.phrases("p1"), pack.text_tokens)
        logits = segment_logits(vlsm, pack, to_pixels(image, vlsm.spec)[None], tokens)
        probabilities.append((item, to_image_size(logits, *image.shape[:2])[0].numpy()))
    lowest, highest = max(p.min() for _, p in probabilities), min(p.max() for _, p in probabilities)
    assert lowest < highest
    threshold = float((lowest + highest) / 2)
    for item, probability in probabilities:
        Image.fromarray(probability > threshold).convert("L").save(item.mask_path)
    return threshold


class TestEvaluate:
    @pytest.mark.parametrize("strategy", [None, "vpt", "coop"])
    def test_the_models_own_masks_at_the_images_own_size_score_one(self, tiny_hybrid, folder, strategy):
        pack = ZERO_SHOT if strategy is None else make_learner(strategy, tiny_hybrid, depth=2).fold()
        threshold = own_masks(tiny_hybrid, pack, folder)
        result = evaluate(folder, vlsm=tiny_hybrid, pack=pack, threshold=threshold, batch_size=2)
        assert min(result.dice) > 0.99
        assert result.summary()["pooled_iou"] > 0.99
        assert [s.counts.truth for s in result.scores] == [
            int(i.mask().sum()) for i in read_split(folder, "val")
        ]

    def test_training_images_are_refused_unless_forced(self, tiny, folder):
        with pytest.raises(BadInputError, match="split 'train' holds the images checkpoints were tuned on"):
            evaluate(folder, vlsm=tiny, split="train")
        assert len(evaluate(folder, vlsm=tiny, split="train", allow_training_images=True).scores) == 3

    def test_an_unknown_split_lists_those_there_are(self, tiny, folder):
        with pytest.raises(UnknownNameError, match="no split 'test'; it has train, val"):
            evaluate(folder, vlsm=tiny, split="test")

    def test_the_threshold_decides_and_is_checked(self, tiny, folder):
        none = evaluate(folder, vlsm=tiny, threshold=1.0)
        everything = evaluate(folder, vlsm=tiny, threshold=0.0)
        assert none.dice == [0.0] * 5
        assert everything.dice == pytest.approx([2 / 3] * 5, abs=0.01)
        with pytest.raises(BadInputError, match=r"threshold 7 is outside 0\.\.1"):
            evaluate(folder, vlsm=tiny, threshold=7)

    def test_an_empty_truth_counts_one_for_an_empty_mask_and_is_left_out_where_present(self, tiny, folder):
        Image.new("L", (80, 72)).save(folder / "masks" / "val_00.png")
        result = evaluate(folder, vlsm=tiny, threshold=1.0)
        assert result.dice == [1.0, 0.0, 0.0, 0.0, 0.0]
        summary = result.summary()
        assert summary["dice"]["mean"] == pytest.approx(0.2)
        assert summary["dice_where_present"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 4}

    def test_takes_the_first_of_several_phrases(self, tiny, folder):
        edit_split(folder, "val", lambda es: [e["prompts"].update(p1=["one", "two"]) for e in es])
        assert {s.phrase for s in evaluate(folder, vlsm=tiny).scores} == {"one"}

    def test_says_how_far_it_is(self, tiny, folder):
        told = []
        evaluate(folder, vlsm=tiny, batch_size=2, progress=lambda *at: told.append(at))
        assert told == [(2, 5), (4, 5), (5, 5)]

    def test_a_pack_of_another_model_is_refused(self, tiny, folder):
        pack = PromptPack(visual=torch.zeros(1, 2, 7))
        with pytest.raises(MismatchError, match="do not fit"):
            evaluate(folder, vlsm=tiny, pack=pack)


class TestComparisonReport:
    def test_pairs_images_and_is_json(self, tiny_hybrid, folder):
        pack = make_learner("vpt", tiny_hybrid, depth=1).fold()
        own_masks(tiny_hybrid, pack, folder)
        examples = evaluation_examples(folder, tiny_hybrid)
        before, after = (evaluate_examples(tiny_hybrid, p, examples, device=CPU) for p in (ZERO_SHOT, pack))
        report = json.loads(
            json.dumps(comparison_report(before, after, split="val", prompt_key="p1", phrase=None))
        )
        assert (report["split"], report["n"], report["prompt_key"]) == ("val", 5, "p1")
        assert report["difference"]["dice"]["mean"] == pytest.approx(
            np.mean([i["tuned"]["dice"] - i["zero_shot"]["dice"] for i in report["images"]])
        )
        assert report["tuned"]["dice"]["n"] == 5
        assert report["dice"] == report["tuned"]["dice"]["mean"]
        assert report["zero_shot_iou"] == report["zero_shot"]["iou"]["mean"]
        assert len(figures_table(report)[0]) == 4

    def test_without_a_checkpoint_has_zero_shot_only(self, tiny, folder):
        result = evaluate(folder, vlsm=tiny, phrase="thing")
        report = comparison_report(result, None, split="val", prompt_key="p1", phrase="thing")
        assert "tuned" not in report
        assert (report["prompt_key"], report["phrase"]) == (None, "thing")
        assert len(figures_table(report)[0]) == 2

    def test_other_images_cannot_be_paired(self, tiny, folder):
        val = evaluate(folder, vlsm=tiny)
        train = evaluate(folder, vlsm=tiny, split="train", allow_training_images=True)
        with pytest.raises(ValueError, match="same images"):
            paired_difference(val, train)
