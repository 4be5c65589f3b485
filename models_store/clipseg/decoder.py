"""CLIPSeg's FiLM decoder (Lüddecke and Ecker, 2022), on grids of any shape and with prompts."""

from __future__ import annotations

from torch import Tensor
from transformers import CLIPSegForImageSegmentation

from models_store.clipseg.refine import FineUpsampler
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures


def decode(network: CLIPSegForImageSegmentation, image: ImageFeatures, text: TextFeatures) -> Decoded:
    """Combine the extracted activations, deepest first, under the phrase.

    Prompt tokens and the class token take part in the decoder's attention and are dropped
    before the grid is drawn.
    """
    decoder = network.decoder
    x: Tensor | None = None
    for i, (activation, layer, reduce) in enumerate(
        zip(reversed(image.activations), decoder.layers, decoder.reduces, strict=True)
    ):
        reduced = reduce(activation)
        x = reduced if x is None else reduced + x
        if i == decoder.conditional_layer:
            x = decoder.film_mul(text.cond)[:, None] * x + decoder.film_add(text.cond)[:, None]
        x = layer(x, attention_mask=None)
    if x is None:
        raise ValueError("there are no activations to decode")
    rows, columns = image.grid
    patches = x[:, 1 : 1 + rows * columns]
    grid = patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)
    upsample = decoder.transposed_convolution
    if isinstance(upsample, FineUpsampler):
        return Decoded(grid, upsample(grid, image.fine, text.cond))
    return Decoded(grid, upsample(grid))
