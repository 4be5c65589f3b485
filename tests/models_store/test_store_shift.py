"""CoCoOp's image-conditioned shift: what it computes, its files, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from store_bases import PHRASES, images, new_checkpoint, tiny_base, tiny_cris
from strategy_cases import cases, logits, made
from torch.nn import functional as F

from models_store.checkpoints import CONFIG, read_checkpoint, write_checkpoint, write_sums
from models_store.errors import DamagedError, MismatchError
from models_store.heads import HeadMode
from models_store.packs import ZERO_SHOT, PromptPack, encode_phrases, segment_logits
from models_store.projections import ProjectionForm, ProjectionKind
from models_store.shift import ShiftForm
from models_store.vlsm import FrozenVLSM

COCOOP = ["cocoop", "cocoop-lora", "cocoop-linear", "cocoop-unified", "cocoop-late"]


def some_pack(variant: str = "cocoop", depth: int = 3) -> PromptPack:
    return made(tiny_base(), variant, depth=depth, n=2).fold()


@cases(COCOOP)
def test_every_image_has_prompts_of_its_own(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=2, n=3).fold()
    image = base.encode_image(images(3), pooled=True)
    tokens = base.tokenize(["liver"] * 3, 3)
    conds = encode_phrases(base, pack, tokens, image).cond
    assert not torch.allclose(conds[0], conds[1], rtol=0, atol=1e-5)
    pooled = F.normalize(image.pooled, dim=-1) if variant == "cocoop-unified" else image.pooled
    for row in range(3):
        shifts = [pack.shift.nets[net](pooled[row]) for net in pack.shift.levels]
        own = torch.stack([level + shift for level, shift in zip(pack.text, shifts, strict=True)])
        alone = base.encode_text(base.tokenize(["liver"], 3), own).cond
        torch.testing.assert_close(conds[row : row + 1], alone, rtol=1e-4, atol=1e-4)


@cases(COCOOP)
def test_round_trip(base: FrozenVLSM, variant: str) -> None:
    pack = made(base, variant, depth=2, n=3, head=HeadMode.MIX).fold()
    again = PromptPack.from_tensors(load(save(pack.tensors())), HeadMode.MIX, pack.shift_form)
    assert again.digest == pack.digest
    assert torch.equal(logits(base, again), logits(base, pack))
    assert not any(p.requires_grad for p in again.shift.parameters())
    moved = pack.to("cpu")
    assert moved.digest == pack.digest
    assert moved.shift is not pack.shift


def test_one_phrase_serves_all_images() -> None:
    base, pack = tiny_base(), some_pack()
    one = segment_logits(base, pack, images(3), base.tokenize(["liver"], 2))
    each = segment_logits(base, pack, images(3), base.tokenize(["liver"] * 3, 2))
    torch.testing.assert_close(one, each, rtol=0, atol=1e-4)


def test_digests_tell_forms_apart() -> None:
    pack = some_pack()
    form = pack.shift_form
    assert form is not None
    forms = [form, dataclasses.replace(form, normalise=True), dataclasses.replace(form, levels=(0, 2, 1))]
    packs = [PromptPack.from_tensors(pack.tensors(), HeadMode.NONE, f) for f in forms]
    assert len({p.digest for p in packs}) == 3
    assert packs[0].digest == pack.digest


def test_features_that_are_missing_or_too_few() -> None:
    base, pack = tiny_base(), some_pack()
    tokens = base.tokenize(PHRASES, 2)
    for image in (None, base.encode_image(images(3))):
        with pytest.raises(ValueError, match="3 phrases need as many, not no pooled"):
            encode_phrases(base, pack, tokens, image)
    with pytest.raises(ValueError, match="not 2 pooled"):
        encode_phrases(base, pack, tokens, base.encode_image(images(2), pooled=True))
    assert not ZERO_SHOT.needs_pooled
    assert pack.needs_pooled


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: {k: v for k, v in t.items() if "shift" not in k}, "no meta-nets"),
        (lambda t: {k: v for k, v in t.items() if "nets.2" not in k}, "do not fit"),
        (lambda t: t | {"shift.nets.3.0.weight": torch.zeros(64, 24)}, "do not fit"),
        (lambda t: t | {"shift.nets.1.0.weight": torch.zeros(64, 23)}, "do not fit"),
        (lambda t: t | {"text": t["text"][:2]}, "shift of 3 levels"),
        (lambda t: t | {"text": t["text"][..., :9]}, "width 9"),
        (lambda t: {k: v for k, v in t.items() if k != "text"}, "depth 0"),
    ],
)
def test_tensors_that_do_not_fit(change: Any, told: str) -> None:
    pack = some_pack()
    with pytest.raises(DamagedError, match=told):
        PromptPack.from_tensors(change(pack.tensors()), HeadMode.NONE, pack.shift_form)


@pytest.mark.parametrize(
    "form",
    [
        ShiftForm(ProjectionForm(), (0, 1, 2)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (10**12,), norm=True, bias=False), (0, 1, 2)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (), norm=True, bias=False), (0, 1, 2)),
        ShiftForm(ProjectionForm(ProjectionKind.LORA, (64, 2), norm=True, bias=False), (0, 1, 2)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (64,), norm=True, bias=True), (0, 1, 2)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (64,), norm=True, bias=False), (0, 1)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (64,), norm=True, bias=False), (0, 1, 5)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (64,), norm=True, bias=False), (0, 1, -1)),
        ShiftForm(ProjectionForm(ProjectionKind.MLP, (64,), norm=True, bias=False), ()),
        None,
    ],
)
def test_a_form_of_something_else_is_damage(form: ShiftForm | None) -> None:
    with pytest.raises(DamagedError, match=r"meta-nets|levels"):
        PromptPack.from_tensors(some_pack().tensors(), HeadMode.NONE, form)


def test_another_pooled_width_is_a_mismatch() -> None:
    spec = dataclasses.replace(tiny_base().spec, pooled_width=99, name="that-base")
    with pytest.raises(MismatchError, match=r"width 24 do not fit that-base.*width 99"):
        some_pack().check_fits(spec)


@pytest.mark.parametrize("base", [tiny_base(), tiny_cris()])
def test_a_checkpoint_keeps_the_form(base: FrozenVLSM, tmp_path: Path) -> None:
    new = new_checkpoint(base, "cocoop")
    write_checkpoint(tmp_path, new)
    again = read_checkpoint(tmp_path)
    again.check_base(base.spec)
    assert again.config == new.config
    assert again.config.shift == new.pack.shift_form
    assert torch.equal(logits(base, again.pack), logits(base, new.pack))


def test_a_configuration_that_forgets_the_form_is_refused(tmp_path: Path) -> None:
    new = new_checkpoint(tiny_base(), "cocoop")
    with pytest.raises(ValueError, match="another pack"):
        dataclasses.replace(new, config=new.config.model_copy(update={"shift": None}))
    write_checkpoint(tmp_path, new)
    written = json.loads((tmp_path / CONFIG).read_text())
    written["shift"]["normalise"] = True
    (tmp_path / CONFIG).write_text(json.dumps(written))
    write_sums(tmp_path)
    with pytest.raises(DamagedError, match="digest"):
        read_checkpoint(tmp_path)


def test_a_configuration_from_before_there_were_shifts_reads(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, new_checkpoint(tiny_base(), "vpt"))
    written = json.loads((tmp_path / CONFIG).read_text())
    del written["shift"]
    (tmp_path / CONFIG).write_text(json.dumps(written))
    write_sums(tmp_path)
    assert read_checkpoint(tmp_path).config.shift is None
