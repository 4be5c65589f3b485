"""CRIS at the published size, and what a frozen one may not do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from original_files import number_of, published_shapes, published_state, write_original
from store_bases import PHRASES, images, tiny_cris, vectors
from torch import Tensor

from models_store.bases import load_base
from models_store.cris.model import FrozenCRIS
from models_store.cris.network import PUBLISHED, build_cris
from models_store.cris.original import load_original
from models_store.digests import tensors_digest
from models_store.errors import DamagedError, MismatchError
from models_store.heads import HeadMode
from models_store.strategies import make_learner


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_original(tmp_path_factory.mktemp("cris") / "cris_best.pth", published_state("module."))


@pytest.fixture(scope="module")
def published(original: Path) -> FrozenCRIS:
    base = load_base(str(original))
    assert isinstance(base, FrozenCRIS)
    return base


def test_parameters_and_entries() -> None:
    with torch.device("meta"):
        network = build_cris(PUBLISHED)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    assert sizes == {
        "backbone": 104_106_337,
        "neck": 24_142_336,
        "decoder": 12_631_552,
        "proj": 5_968_897,
    }
    assert sum(sizes.values()) == 146_849_122
    visual = network.backbone.visual
    assert sum(p.numel() for p in visual.parameters()) == 40_416_096
    assert sum(p.numel() for p in visual.attnpool.connect.parameters()) == 2_099_200
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == published_shapes()


def test_the_backbone_has_the_names_of_open_clip() -> None:
    open_clip = pytest.importorskip("open_clip")
    clip = open_clip.create_model("RN50-quickgelu").state_dict()
    with torch.device("meta"):
        ours = build_cris(PUBLISHED).backbone.state_dict()
    beyond = {name for name in ours if name.startswith("visual.attnpool.connect.")}
    assert len(clip) == 489
    assert len(beyond) == 6
    shapes = {name: t.shape for name, t in ours.items() if name not in beyond}
    assert shapes == {name: t.shape for name, t in clip.items()}


def test_a_checkpoint_file_is_a_base(published: FrozenCRIS, original: Path) -> None:
    spec = published.spec
    assert (spec.name, spec.family, spec.image_size, spec.resample) == ("cris-r50", "cris", 416, 3)
    assert spec.mean == (0.48145466, 0.4578275, 0.40821073)
    assert spec.std == (0.26862954, 0.26130258, 0.27577711)
    assert (spec.text_width, spec.text_layers, spec.pooled_width, spec.grid_channels) == (512, 12, 1024, 512)
    assert not spec.takes_visual_prompts
    state = published.network.state_dict()
    assert len(state) == 662
    for name, tensor in state.items():
        if not re.search("num_batches_tracked", name):
            assert float(tensor.flatten()[0]) == pytest.approx(number_of(name)), name
    assert spec.digest == tensors_digest(load_original(original).tensors)
    with pytest.raises(MismatchError, match=f"has weights {spec.digest}, but 000 was asked for"):
        load_base(str(original), digest="000")


def test_a_damaged_file_is_no_base(original: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(original.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=r"cut\.pth is cut short"):
        load_base(str(tmp_path / "cut.pth"))


def test_shapes_of_the_maps(published: FrozenCRIS) -> None:
    image = published.encode_image(images(1, height=416, width=416), pooled=True)
    assert [tuple(x.shape[1:]) for x in image.activations] == [(512, 52, 52), (1024, 26, 26), (1024, 13, 13)]
    assert image.pooled is not None
    assert image.pooled.shape == (1, 1024)
    tokens = published.tokenize(["polyp"], 4)
    text = published.encode_text(tokens, vectors(2, 4, 512))
    assert text.words is not None
    assert (text.cond.shape, text.words.shape) == ((1, 1024), (1, tokens.ids.shape[1] + 4, 512))
    decoded = published.decode(image, text)
    assert (decoded.grid.shape, decoded.logits.shape) == ((1, 512, 26, 26), (1, 1, 416, 416))


@pytest.mark.parametrize(
    ("mode", "learned"), [(HeadMode.NONE, 0), (HeadMode.ADD, 34_369), (HeadMode.MIX, 34_370)]
)
def test_parameters_of_the_learners(published: FrozenCRIS, mode: HeadMode, learned: int) -> None:
    coop = make_learner("coop", published, depth=11, head=mode)
    assert coop.parameter_count() == 11 * 2048 + learned
    cocoop = make_learner("cocoop", published, depth=11, hidden=64, head=mode)
    assert cocoop.parameter_count() == 1_110_208 + learned


def state_of(base: FrozenCRIS) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in base.network.state_dict().items()}


def test_train_on_everything_moves_nothing() -> None:
    base = tiny_cris()
    before, pixels = state_of(base), images(3)
    learner = make_learner("coop", base, depth=2, n=2, head=HeadMode.MIX)

    def logits() -> Tensor:
        text = base.encode_text(base.tokenize(PHRASES, 2), learner.prompts()[0])
        return base.decode(base.encode_image(pixels), text).logits

    quiet = logits().detach()
    together = torch.nn.ModuleList([learner, base.network])
    together.train()
    assert learner.training
    assert not any(module.training for module in base.network.modules())
    base.network.train()
    loud = logits()
    assert torch.equal(loud, quiet)
    loud.sum().backward()
    assert all(p.grad is None for p in base.network.parameters())
    assert learner.context.grad is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in base.network.state_dict().items())


def test_rows_do_not_depend_on_each_other() -> None:
    base, pixels, prompts = tiny_cris(), images(3), vectors(3, 2, 32)
    together = base.decode(
        base.encode_image(pixels), base.encode_text(base.tokenize(PHRASES, 2), prompts)
    ).logits
    # Kernels for one row and for three may add in another order, so errors scale with the logits.
    allowed = 1e-5 * float(together.abs().max())
    for row, phrase in enumerate(PHRASES):
        text = base.encode_text(base.tokenize([phrase], 2), prompts)
        alone = base.decode(base.encode_image(pixels[row : row + 1]), text).logits
        assert torch.allclose(together[row], alone[0], rtol=0, atol=allowed)


def test_prompts_are_words_to_the_decoder_and_padding_is_not() -> None:
    base, n = tiny_cris(), 3
    tokens = base.tokenize(PHRASES, n)
    text = base.encode_text(tokens, vectors(2, n, 32))
    assert text.words is not None
    assert text.padding is not None
    assert text.words.shape[1] == tokens.ids.shape[1] + n
    assert not text.padding[:, : 1 + n].any(), "BOS and prompts"
    assert torch.equal(text.padding.sum(1), (tokens.mask == 0).sum(1))
    image = base.encode_image(images(len(PHRASES)))
    right = base.decode(image, text).logits
    noise = torch.randn(text.words.shape, generator=torch.Generator().manual_seed(0))
    for where, matters in ((text.padding, False), (~text.padding, True)):
        changed = torch.where(where[..., None], noise, text.words)
        logits = base.decode(image, type(text)(text.cond, changed, text.padding)).logits
        assert torch.equal(logits, right) is not matters


def test_features_of_an_image_serve_every_phrase() -> None:
    base, pixels = tiny_cris(), images(2)
    kept = base.encode_image(pixels)
    tokens = base.tokenize(PHRASES, 0)
    pairs = torch.tensor([0, 0, 1])
    text = base.encode_text(tokens)
    reused = base.decode(kept.select(pairs), text).logits
    assert torch.equal(reused, base.decode(base.encode_image(pixels).select(pairs), text).logits)
    for row in range(3):
        image = base.encode_image(pixels[pairs[row]][None])
        fresh = base.decode(image, text.select(torch.tensor([row]))).logits
        assert torch.allclose(fresh[0], reused[row], rtol=0, atol=1e-5)
    one = base.decode(kept.select(torch.tensor([0])).expand(3), text).logits
    assert torch.allclose(one[:2], reused[:2], rtol=0, atol=1e-5)


def test_visual_prompts_have_no_place() -> None:
    with pytest.raises(MismatchError, match="takes no visual prompts"):
        tiny_cris().encode_image(images(1), vectors(1, 2, 32))
