import numpy as np
import pytest
import torch
from cris_parts import tiny_cris
from toy_data import edit_split, write_toy

from models_store.packs import ZERO_SHOT
from models_store.strategies import make_learner
from trainer.encoded import RememberedImages
from trainer.evaluate import evaluate_examples, evaluation_examples
from trainer.feature_cache import CacheBudget
from trainer.sensitivity import ASKED, generic_ways, prompt_sensitivity, sensitivity_report, ways_to_ask

CPU = torch.device("cpu")
PROMPTS = {"p0": "", "p1": ["bright half", "light part"], "p2": "bright half", "p3": " ", "p4": "x"}


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy", train=1, val=5)


class Counting:
    """Counts the images that are encoded."""

    def __init__(self, vlsm):
        self._vlsm, self.encoded = vlsm, 0
        self.spec = vlsm.spec

    def encode_image(self, pixels, visual_prompts=None, *, pooled=False):
        self.encoded += len(pixels)
        return self._vlsm.encode_image(pixels, visual_prompts, pooled=pooled)

    def __getattr__(self, name):
        return getattr(self._vlsm, name)


class TestWaysToAsk:
    def test_are_the_other_annotated_prompts_and_generic_rewordings_without_repeats(self, tiny, folder):
        edit_split(folder, "val", lambda es: [e["prompts"].update(PROMPTS) for e in es])
        ways = ways_to_ask(evaluation_examples(folder, tiny))[0]
        assert ways == {
            ASKED: "bright half",
            "p1 (2)": "light part",
            "p4": "x",
            "the X": "the bright half",
            "X in the image": "bright half in the image",
            "a photo of a X": "a photo of a bright half",
            "X IN CAPITALS": "BRIGHT HALF",
            "with full stop": "bright half.",
        }

    def test_a_mapping_of_ones_own_replaces_them(self, tiny, folder):
        ways = ways_to_ask(evaluation_examples(folder, tiny), {"bright half": ["half", "bright half"]})
        assert ways == [{ASKED: "bright half", "half": "half"}] * 5
        assert ways_to_ask(evaluation_examples(folder, tiny), {"other": ["half"]})[0] == {
            ASKED: "bright half"
        }

    def test_a_full_stop_is_put_and_taken(self):
        assert generic_ways("a polyp.")["without full stop"] == "a polyp"
        assert generic_ways("a polyp.")["the X"] == "the a polyp"
        assert generic_ways("polyp")["with full stop"] == "polyp."


class TestPromptSensitivity:
    @pytest.mark.parametrize("strategy", [None, "vpt", "coop"])
    def test_each_way_scores_as_an_evaluation_with_that_phrase(self, tiny_hybrid, folder, strategy):
        pack = ZERO_SHOT if strategy is None else make_learner(strategy, tiny_hybrid, depth=2).fold()
        examples = evaluation_examples(folder, tiny_hybrid)
        ways = ways_to_ask(examples)
        threshold = middle(tiny_hybrid, pack, examples)
        found = prompt_sensitivity(
            tiny_hybrid, pack, examples, ways, device=CPU, threshold=threshold, batch_size=2
        )
        for name, text in ways[0].items():
            asked = evaluation_examples(folder, tiny_hybrid, phrase=text)
            alone = evaluate_examples(tiny_hybrid, pack, asked, device=CPU, threshold=threshold)
            assert [row[name] for row in found.dice] == pytest.approx(alone.dice, abs=0.02)
        assert {round(d, 6) for row in found.dice for d in row.values()} - {0.0, 1.0}

    def test_encodes_each_image_once(self, tiny, folder):
        counting = Counting(tiny)
        examples = evaluation_examples(folder, counting)
        prompt_sensitivity(counting, ZERO_SHOT, examples, ways_to_ask(examples), device=CPU, batch_size=2)
        assert counting.encoded == 5

    def test_summary_is_the_spread_per_image(self, tiny, folder):
        examples = evaluation_examples(folder, tiny).select([0, 1])
        ways = [{"a": "one", "b": "two"}, {"a": "one", "c": "three"}]
        found = prompt_sensitivity(tiny, ZERO_SHOT, examples, ways, device=CPU)
        rows = ({"a": 0.2, "b": 0.6}, {"a": 0.5, "c": 0.5})
        summary = type(found)(found.ways, rows).summary()
        assert summary["deviation"]["mean"] == pytest.approx(0.1)
        assert summary["range"]["mean"] == pytest.approx(0.2)
        assert [(p["label"], p["example"], p["n"]) for p in summary["paraphrases"]] == [
            ("a", "one", 2),
            ("b", "two", 1),
            ("c", "three", 1),
        ]
        assert summary["paraphrases"][0]["dice"]["mean"] == pytest.approx(0.35)
        report = sensitivity_report({"zero_shot": found, "tuned": found})
        assert (report["images"], report["tuned"]) == (2, found.summary())


def middle(vlsm, pack, examples):
    """A threshold at which masks have both inside and outside."""
    shares = np.linspace(0.1, 0.9, 9)
    results = [evaluate_examples(vlsm, pack, examples, device=CPU, threshold=float(t)) for t in shares]
    sizes = [sum(s.counts.predicted for s in r.scores) for r in results]
    whole = max(sizes)
    return float(shares[min(range(len(shares)), key=lambda i: abs(sizes[i] - whole / 2))])


class TestRememberedImages:
    @pytest.mark.parametrize("budget", [1 << 30, 40_000, 0])
    @pytest.mark.parametrize("family", ["clipseg", "cris"])
    def test_changes_no_figure_and_saves_what_the_budget_holds(self, tiny_hybrid, folder, budget, family):
        vlsm = tiny_hybrid if family == "clipseg" else tiny_cris()
        examples = evaluation_examples(folder, vlsm)
        remembered = RememberedImages(vlsm, examples, CPU, budget=CacheBudget(memory=budget, disk=0))
        for pack in (ZERO_SHOT, make_learner("coop", vlsm, depth=2).fold()):
            plain = evaluate_examples(vlsm, pack, examples, device=CPU, batch_size=2)
            again = evaluate_examples(vlsm, pack, examples, device=CPU, batch_size=2, images=remembered)
            assert again.dice == pytest.approx(plain.dice, abs=0.01)
        assert remembered.encoded == 5 if budget == 1 << 30 else remembered.encoded <= 10
        if budget == 0:
            assert remembered.encoded == 10
