"""ONNX Runtime gives torch's results, whatever prompts enter."""

from __future__ import annotations

import pytest
import torch
from backend_cases import base, exported
from store_bases import PHRASES, images, vectors

from models_store.errors import MismatchError
from models_store.heads import HeadMode, head_for
from models_store.mixed import Row, segment_rows
from models_store.packs import ZERO_SHOT, PromptPack, segment_logits
from models_store.vlsm import FrozenVLSM

FAMILIES = pytest.mark.parametrize("hybrid", [False, True], ids=["plain", "hybrid"])


def text(depth: int, n: int, seed: int = 2) -> torch.Tensor:
    return vectors(depth, n, 32, seed=seed)


def visual(depth: int, n: int, seed: int = 5) -> torch.Tensor:
    return vectors(depth, n, 48, seed=seed)


def check(hybrid: bool, pack: PromptPack, rows: int = 3) -> torch.Tensor:
    reference, (onnx, _) = base(hybrid=hybrid), exported(hybrid=hybrid)
    phrases = (PHRASES * rows)[:rows]

    def logits(vlsm: FrozenVLSM) -> torch.Tensor:
        return segment_logits(vlsm, pack, images(rows), vlsm.tokenize(phrases, pack.text_tokens))

    got, wanted = logits(onnx), logits(reference)
    assert wanted.std() > 0.01
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    return got


@FAMILIES
def test_satisfies_the_protocol(hybrid: bool) -> None:
    onnx, manifest = exported(hybrid=hybrid)
    assert isinstance(onnx, FrozenVLSM)
    assert manifest.max_error < 1e-4
    assert onnx.backend.name == "onnx"
    assert onnx.backend.providers == ("CPUExecutionProvider",)


@FAMILIES
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_zero_shot(hybrid: bool, rows: int) -> None:
    check(hybrid, ZERO_SHOT, rows)


@FAMILIES
@pytest.mark.parametrize(("depth", "n"), [(1, 1), (2, 4), (4, 2)])
def test_prompts_of_any_depth_and_number_change_the_logits_alike(hybrid: bool, depth: int, n: int) -> None:
    plain = check(hybrid, ZERO_SHOT)
    for pack in (
        PromptPack(text(depth, n), visual(depth, n)),
        PromptPack(text(depth, n)),
        PromptPack(None, visual(depth, n)),
    ):
        assert (check(hybrid, pack) - plain).abs().max() > 0.01


def test_prompts_as_deep_as_the_model() -> None:
    shallow = check(False, PromptPack(text(3, 3), visual(3, 3)))
    deep = check(False, PromptPack(text(5, 3), visual(5, 3)))
    assert not torch.equal(shallow, deep)


@FAMILIES
def test_heads_read_the_same_grid(hybrid: bool) -> None:
    head = head_for(base(hybrid=hybrid).spec, HeadMode.MIX, torch.Generator().manual_seed(0))
    assert head is not None
    head.requires_grad_(False)
    check(hybrid, PromptPack(text(2, 2), None, head))


@FAMILIES
@pytest.mark.parametrize("depth", [0, 3, 4])
def test_the_pooled_feature(hybrid: bool, depth: int) -> None:
    prompts = visual(depth, 2) if depth else None
    got, wanted = (
        vlsm.encode_image(images(2), prompts, pooled=True).pooled
        for vlsm in (exported(hybrid=hybrid)[0], base(hybrid=hybrid))
    )
    assert got is not None
    assert wanted is not None
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@FAMILIES
def test_rows_of_different_packs_share_a_batch(hybrid: bool) -> None:
    packs = [
        ZERO_SHOT,
        PromptPack(text(2, 3), visual(1, 2)),
        PromptPack(text(4, 1, 7), visual(4, 2, 8)),
        PromptPack(None, visual(2, 2, 9)),
    ]
    phrases = [*PHRASES, "x" * 90]
    onnx, _ = exported(hybrid=hybrid)
    rows = [Row(p, pixels, phrase) for p, pixels, phrase in zip(packs, images(4), phrases, strict=True)]
    together = segment_rows(onnx, rows)
    for index, row in enumerate(rows):
        alone = segment_rows(base(hybrid=hybrid), [row])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-4)


def test_phrases_become_the_same_embeddings() -> None:
    got, wanted = (vlsm.embed_phrase("a liver") for vlsm in (exported(hybrid=False)[0], base(hybrid=False)))
    assert torch.equal(got, wanted)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(MismatchError, match="take images of 3 x 64 x 64, not 3 x 32 x 64"):
        exported(hybrid=False)[0].encode_image(images(1, height=32))


def test_kept_features_are_smaller() -> None:
    got, wanted = (vlsm.encode_image(images(1)) for vlsm in (exported(hybrid=False)[0], base(hybrid=False)))
    assert {x.shape[-1] for x in got.activations} == {16}
    assert {x.shape[-1] for x in wanted.activations} == {48}
