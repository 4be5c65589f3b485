"""Rows of different checkpoints share a batch in ONNX Runtime, and each gets what it gets alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from backend_cases import exported
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_cases import BASES, LONG, PIXELS, assert_each_as_alone, pack_of, rows

from models_store.backends.report import BackendReport
from models_store.backends.row_by_row import prompts_of
from models_store.backends.torch_vlsm import TorchVLSM
from models_store.heads import HeadMode
from models_store.mixed import Row, segment_rows
from models_store.packs import ZERO_SHOT
from models_store.vlsm import FrozenVLSM

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


@cache
def onnx(precision: str) -> FrozenVLSM:
    return exported(hybrid=True, precision=precision)[0]


@PRECISIONS
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_each_row_is_the_row_run_alone(precision: str, data: st.DataObject) -> None:
    mix = data.draw(rows("hybrid"))
    with torch.inference_mode():
        assert_each_as_alone(onnx(precision), mix, segment_rows(onnx(precision), mix))


@torch.inference_mode()
def test_8_bit_rows_are_the_same_bits_whoever_is_beside_them() -> None:
    """Their scales come from all values of a pass, so a bright image must not change its neighbours."""
    mix = [
        Row(ZERO_SHOT, PIXELS[0], "a"),
        Row(pack_of("hybrid", "maple", 2, 3, HeadMode.MIX, 0), PIXELS[1] * 5, LONG),
        Row(pack_of("hybrid", "cocoop", 1, 2, HeadMode.NONE, 0), PIXELS[2], "two words"),
    ]
    found = segment_rows(onnx("int8"), mix)
    for row, logits in zip(mix, found, strict=True):
        assert torch.equal(logits, segment_rows(onnx("int8"), [row])[0])
    assert (found - segment_rows(BASES["hybrid"](), mix)).abs().max() > 1e-3


def test_a_row_has_its_own_prompts() -> None:
    shared, own = torch.zeros(2, 3, 4), torch.arange(2.0)[:, None, None, None].expand(2, 2, 3, 4)
    assert prompts_of(None, 1) is None
    assert prompts_of(shared, 1) is shared
    assert prompts_of(own, 1).unique().tolist() == [1.0]  # type: ignore[union-attr]


def test_backends_say_what_their_features_depend_on() -> None:
    def dtype(vlsm: Any) -> str:
        return str(vlsm.dtype)

    half = TorchVLSM(BASES["plain"](), BackendReport("torch", "test"), autocast=torch.bfloat16)
    assert [dtype(vlsm) for vlsm in (onnx("fp32"), onnx("int8"), half)] == [
        "float32",
        "int8",
        "torch.bfloat16",
    ]
