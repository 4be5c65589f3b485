"""What is left out while visual prompts are tuned changes no sum."""

from functools import partial

import pytest
import torch
from store_bases import tiny_base
from torch import Tensor

from models_store.clipseg.towers import encode_image

BASES = {"plain": tiny_base, "hybrid": partial(tiny_base, hybrid=True)}


@pytest.fixture(params=BASES)
def base(request):
    base = BASES[request.param]()
    base.network.double()
    yield base
    base.network.float()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pixels() -> Tensor:
    return draw(3, 3, 64, 64)


def gradients(base, image, prompts: Tensor) -> list[Tensor]:
    """Activations, and the gradient of a sum over all of them, each token with a weight of its own."""
    learned = prompts.clone().requires_grad_()
    activations = encode_image(base.network, image, learned).activations
    total = sum((a * draw(*a.shape, seed=at)).sum() for at, a in enumerate(activations))
    total.backward()
    return [*(a.detach() for a in activations), learned.grad]


class TestTunedLayers:
    @pytest.mark.parametrize("depth", [1, 2, 3, 4])
    @pytest.mark.parametrize("n", [1, 5])
    def test_activations_and_gradients_are_those_of_plain_layers(self, base, depth, n):
        prompts = draw(depth, n, 48, seed=1)
        kept = base.embed_image(pixels(), depth)
        assert (kept.first is not None) == (depth >= 2)
        ours, plain = (gradients(base, image, prompts) for image in (kept, pixels()))
        for mine, theirs in zip(ours, plain, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12)
        assert ours[-1][: min(depth, 3)].abs().amax(dim=(1, 2)).min() > 1e-3

    def test_prompts_far_stronger_than_patches_lose_no_precision(self, base):
        prompts = draw(3, 4, 48, seed=1) * torch.tensor([1e3, 1e3, 1.0]).double()[:, None, None]
        ours, plain = (gradients(base, i, prompts) for i in (base.embed_image(pixels(), 3), pixels()))
        for mine, theirs in zip(ours, plain, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-8, atol=1e-9)

    def test_nothing_of_the_image_takes_a_gradient_before_prompts_have_met_it(self, base):
        with torch.no_grad():
            kept = base.embed_image(pixels(), 2)
        assert kept.first is not None
        prompts = draw(2, 4, 48).requires_grad_()
        encode_image(base.network, kept, prompts).activations[0].sum().backward()
        assert all(t.grad is None and not t.requires_grad for t in (kept.tokens, kept.first.queries))

    def test_shallow_prompts_for_an_image_kept_for_deep_ones_are_refused(self, base):
        with pytest.raises(ValueError, match="depth 1"):
            encode_image(base.network, base.embed_image(pixels(), 2), draw(1, 4, 48))

    def test_half_precision_keeps_the_weight_of_the_patches(self):
        base = tiny_base()
        image, prompts = pixels().float(), draw(3, 4, 48, seed=1).float()
        exact = encode_image(base.network, image, prompts).activations[0]
        with torch.autocast("cpu", torch.bfloat16):
            kept = base.embed_image(image, 3)
            ours = encode_image(base.network, kept, prompts).activations[0]
            plain = encode_image(base.network, image, prompts).activations[0]
        assert kept.first is not None
        assert kept.first.scores.dtype == torch.float32
        ours_off, plain_off = ((x.float() - exact).abs().mean() for x in (ours, plain))
        assert ours_off < 1.5 * plain_off
