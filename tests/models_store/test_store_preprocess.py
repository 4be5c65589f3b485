"""From an image of any size to the model's square and back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from store_bases import tiny_base
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from models_store.packs import ZERO_SHOT, segment_logits
from models_store.preprocess import to_image_size, to_pixels
from models_store.vlsm import VLSMSpec

SIZES = [(1, 1), (1, 500), (301, 7), (64, 64), (63, 65), (480, 641), (37, 1001)]


def spec_like(*, side: int = 64, resample: int = 3) -> VLSMSpec:
    return dataclasses.replace(
        tiny_base().spec,
        image_size=side,
        resample=resample,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize("side", [64, 352])
def test_pixels_are_those_of_the_librarys_processor(
    height: int, width: int, resample: int, side: int
) -> None:
    spec = spec_like(side=side, resample=resample)
    processor = ViTImageProcessorPil(
        size={"height": side, "width": side},
        resample=resample,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
    )
    image = noise(height, width)
    theirs = processor(image, return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]
    ours = to_pixels(image, spec)
    assert (ours.shape, ours.dtype) == ((3, side, side), torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_the_image_is_not_touched() -> None:
    image = noise(64, 64)
    image.setflags(write=False)
    before = image.copy()
    to_pixels(image, spec_like()).zero_()
    assert np.array_equal(image, before)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 400), width=st.integers(1, 400))
def test_probabilities_have_the_images_size(height: int, width: int) -> None:
    out = to_image_size(torch.randn(2, 1, 64, 64) * 10, height, width)
    assert out.shape == (2, height, width)
    assert out.dtype == torch.float32
    assert ((out >= 0) & (out <= 1)).all()


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_is_even_stays_even(height: int, width: int) -> None:
    image = np.full((height, width, 3), 51, dtype=np.uint8)
    pixels = to_pixels(image, tiny_base().spec)
    torch.testing.assert_close(pixels, torch.full_like(pixels, (0.2 - 0.5) / 0.5))
    out = to_image_size(torch.full((1, 1, 64, 64), 2.0), height, width)
    torch.testing.assert_close(out, torch.full_like(out, torch.tensor(2.0).sigmoid().item()))


@pytest.mark.parametrize(("height", "width"), [(97, 411), (411, 97), (640, 480), (129, 129)])
@pytest.mark.parametrize("box", [(0.1, 0.2, 0.5, 0.9), (0.6, 0.05, 0.95, 0.4)])
def test_a_box_comes_back_where_it_was(
    height: int, width: int, box: tuple[float, float, float, float]
) -> None:
    """Brightness as logits: a half-pixel shift or swapped axes would move the box's edges."""
    top, left, bottom, right = (
        round(part * size) for part, size in zip(box, (height, width, height, width), strict=True)
    )
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[top:bottom, left:right] = 255
    logits = to_pixels(image, spec_like(side=352, resample=2))[None, :1] * 10
    logits = logits - (logits.max() + logits.min()) / 2
    inside = to_image_size(logits, height, width)[0].numpy() > 0.5
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    found = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    # One cell of the model's square, in pixels of the image.
    slack = np.ceil(np.array([height, width, height, width]) / 352)
    assert (np.abs(found - [top, left, bottom, right]) <= slack).all()


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_whole_way(hybrid: bool, height: int, width: int) -> None:
    base = tiny_base(hybrid=hybrid)
    pixels = to_pixels(noise(height, width), base.spec)[None]
    with torch.no_grad():
        logits = segment_logits(base, ZERO_SHOT, pixels, base.tokenize(["liver"]))
    out = to_image_size(logits, height, width)
    assert out.shape == (1, height, width)
    assert out.isfinite().all()


@pytest.mark.parametrize(("height", "width"), [(97, 411), (480, 640), (30, 50)])
def test_pixels_are_areas_and_not_points(height: int, width: int) -> None:
    """A ramp over the square is the same ramp over the image, measured at the middles of pixels."""

    def middles(size: int) -> torch.Tensor:
        return (torch.arange(size) + 0.5) / size

    ramp = middles(64)[:, None] + 2 * middles(64)
    out = to_image_size(ramp[None, None], height, width)[0].logit()
    wanted = middles(height)[:, None] + 2 * middles(width)
    # Beyond the middles of the square's outermost pixels there is nothing to go by.
    rows, columns = (slice(size // 64 + 1, size - size // 64 - 1) for size in (height, width))
    torch.testing.assert_close(out[rows, columns], wanted[rows, columns], rtol=0, atol=1e-4)
