import pytest
import torch
from cris_parts import tiny_cris
from toy_data import write_toy
from tuning_parts import toy_run

from models_store.digests import tensors_digest
from models_store.errors import BadInputError, UnknownNameError
from models_store.packs import ZERO_SHOT
from trainer.baselines import TUNED_BASELINES, TunedBase

PARTS = {
    "clipseg": {
        "text": "clip.text_model.encoder.layers.0.",
        "words": "clip.text_model.embeddings.token_embedding",
        "vision": "clip.vision_model.encoder.layers.0.",
        "stem": "clip.vision_model.embeddings.patch_embedding.",
        "decoder": "decoder.",
    },
    "cris": {
        "text": "backbone.transformer.resblocks.0.",
        "words": "backbone.token_embedding",
        "vision": "backbone.visual.",
        "stem": "backbone.visual.",
        "decoder": "decoder.",
        "neck": "neck.",
        "projector": "proj.",
    },
}
ENCODERS = ("text", "words", "vision", "stem")


@pytest.fixture(params=["clipseg", "lite0", "resnet"])
def base(request, tiny_hybrid):
    return tiny_hybrid if request.param == "clipseg" else tiny_cris(request.param)


def weights(network):
    return {k: v.detach().clone() for k, v in network.state_dict().items()}


def logits(vlsm, seed=1):
    side = vlsm.spec.image_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))
    text = vlsm.encode_text(vlsm.tokenize(["left thing", "other"]))
    return vlsm.decode(vlsm.encode_image(pixels), text).logits


def one_step(learner):
    """A step of gradient descent; returns which parameters had a gradient other than zero."""
    learner.train()
    optimizer = torch.optim.SGD(learner.parameters(), lr=1e-2)
    (logits(learner.vlsm) ** 2).mean().backward()
    moved = {
        name for name, p in learner.vlsm.network.named_parameters() if p.grad is not None and p.grad.any()
    }
    optimizer.step()
    return moved


class TestTunedBase:
    def test_end_to_end_reaches_both_encoders_and_the_decoder(self, base):
        learner = TunedBase(base, part="end-to-end")
        before = weights(learner.vlsm.network)
        reached = one_step(learner)
        after = learner.vlsm.network.state_dict()
        for part, prefix in PARTS[base.spec.family].items():
            names = [name for name in reached if name.startswith(prefix)]
            assert names, part
            assert any(not torch.equal(before[name], after[name]) for name in names), part

    def test_decoder_leaves_the_encoders_alone(self, base):
        learner = TunedBase(base, part="decoder")
        before = weights(learner.vlsm.network)
        reached = one_step(learner)
        after = learner.vlsm.network.state_dict()
        parts = PARTS[base.spec.family]
        for part in parts.keys() - ENCODERS:
            assert any(name.startswith(parts[part]) for name in reached), part
        for name in before:
            if not any(name.startswith(parts[part]) for part in parts.keys() - ENCODERS):
                assert torch.equal(before[name], after[name]), name

    def test_the_shared_model_never_changes(self, base):
        digest, output = tensors_digest(base.network.state_dict()), logits(base)
        learner = TunedBase(base, part="end-to-end")
        one_step(learner)
        assert tensors_digest(base.network.state_dict()) == digest
        assert torch.equal(logits(base), output)
        assert not torch.equal(logits(learner.vlsm), output)
        assert not any(p.requires_grad for p in base.network.parameters())

    @pytest.mark.parametrize("part", TUNED_BASELINES)
    def test_starts_as_the_base_model(self, base, part):
        learner = TunedBase(base, part=part)
        assert learner.pack() is ZERO_SHOT
        assert learner.fold() is ZERO_SHOT
        # Attention has a faster way, with other rounding, where no gradient is asked for.
        assert torch.allclose(logits(learner.vlsm), logits(base), atol=1e-4)

    def test_counts_what_masks_depend_on_and_no_more(self, base):
        whole, decoder = (TunedBase(base, part=part) for part in ("end-to-end", "decoder"))
        total = sum(p.numel() for p in base.network.parameters())
        assert 0 < decoder.parameter_count() < whole.parameter_count() <= total
        # Nothing that is counted is dead, and nothing alive is left out.
        twin = TunedBase(base, part="end-to-end")
        for parameter in twin.parameters():
            parameter.requires_grad_(True)
        (logits(twin.vlsm) ** 2).mean().backward()
        alive = sum(p.numel() for p in twin.parameters() if p.grad is not None)
        assert whole.parameter_count() == alive

    def test_batch_statistics_stay_unless_asked_for(self):
        base = tiny_cris()
        for asked in (False, True):
            learner = TunedBase(base, part="end-to-end", batch_statistics=asked)
            before = weights(learner.vlsm.network)
            one_step(learner)
            after = learner.vlsm.network.state_dict()
            statistics = [name for name in before if name.endswith("running_mean")]
            assert statistics
            assert any(not torch.equal(before[name], after[name]) for name in statistics) == asked

    def test_folding_leaves_training_mode(self, base):
        learner = TunedBase(base, part="end-to-end").train()
        assert learner.vlsm.network.training
        learner.fold()
        assert not any(module.training for module in learner.vlsm.network.modules())

    def test_an_unknown_part_lists_those_there_are(self, tiny):
        with pytest.raises(UnknownNameError, match="no baseline 'half'; there are decoder, end-to-end"):
            TunedBase(tiny, part="half")

    def test_a_model_without_weights_at_hand_is_refused(self, tiny):
        class Bare:
            spec = tiny.spec

        with pytest.raises(BadInputError, match="no weights to tune"):
            TunedBase(Bare(), part="decoder")


class TestInTheTuningLoop:
    @pytest.mark.parametrize("part", TUNED_BASELINES)
    def test_lowers_the_loss_and_a_stopped_run_ends_the_same(self, tiny_hybrid, tmp_path, part):
        folder = write_toy(tmp_path / "toy", train=6, val=3)

        def start(name):
            learner = TunedBase(tiny_hybrid, part=part)
            options = {"learner": learner, "rate": 1e-3, "epochs": 3, "min_steps": 3}
            return learner, toy_run(folder, learner.vlsm, tmp_path / name, **options)

        learner, whole = start("whole")
        whole.run()
        first, last = whole.progress.history[0], whole.progress.history[-1]
        assert last.train_loss < first.train_loss

        class Stop(Exception):
            pass

        def stop(tick):
            if (tick.epoch, tick.step) == (1, 2):
                raise Stop

        _, stopped = start("stopped")
        with pytest.raises(Stop):
            stopped.run(stop)
        again, resumed = start("stopped")
        resumed.run()
        assert resumed.progress.history == whole.progress.history
        assert tensors_digest(again.vlsm.network.state_dict()) == tensors_digest(
            learner.vlsm.network.state_dict()
        )
