"""A frozen model whose three steps run in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models_store.backends.graphs import DECODER, IMAGE, POOLED, TEXT
from models_store.backends.report import BackendReport
from models_store.backends.row_by_row import join_images, prompts_of, tokens_of
from models_store.backends.sessions import Session
from models_store.errors import MismatchError
from models_store.mixed.prompts import MixedPrompts
from models_store.mixed.texts import stack_texts
from models_store.prompting import RowsPrompts, first_eos, fit_positions, per_depth
from models_store.vlsm import Decoded, ImageFeatures, TextFeatures, Tokens, VLSMSpec


class OnnxVLSM:
    """Satisfies :class:`models_store.vlsm.FrozenVLSM`; features are this class's own and for it alone.

    Prompts are inputs of the graphs, so that another checkpoint needs no new session.

    Args:
        spec: Sizes and identity of the base model.
        tokenizer: Its tokenizer.
        words: Its token embedding [V, d_t].
        eos: Its end-of-text id, as its configuration says it.
        sessions: The graphs by name; ``pooled`` may be missing where ``image`` gives the pooled feature.
        report: What is said of it in ``/capabilities``.
        dtype: What the products are made in: ``float32`` or ``int8``, for which rows run one at a time;
            see :mod:`models_store.backends.row_by_row`.
    """

    takes_mixed_prompts = True

    def __init__(
        self,
        *,
        spec: VLSMSpec,
        tokenizer: Any,
        words: Tensor,
        eos: int,
        sessions: Mapping[str, Session],
        report: BackendReport,
        dtype: str = "float32",
    ):
        self.spec = spec
        self.tokenizer = tokenizer
        self.words = words
        self.eos = eos
        self.sessions = sessions
        self.backend = report
        self.dtype = dtype
        self._alone = dtype == "int8"

    @property
    def device(self) -> torch.device:
        """Where tensors go in and come out, whichever provider runs the graphs."""
        return torch.device("cpu")

    def tokenize(self, phrases: list[str], prompt_tokens: int = 0) -> Tokens:
        """Tokenise phrases to one length; as :meth:`FrozenCLIPSeg.tokenize`."""
        encoded = self.tokenizer(phrases, padding=True, return_tensors="pt", verbose=False)
        tokens = Tokens(encoded["input_ids"], encoded["attention_mask"])
        return fit_positions(tokens, prompt_tokens, self.spec.text_positions)

    def embed_phrase(self, phrase: str) -> Tensor:
        """Token embeddings [n, d_t] of a phrase, without BOS, EOS and positions."""
        ids = self.tokenizer(phrase, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
        return self.words[ids]

    def encode_image(
        self,
        pixels: Tensor,
        visual_prompts: Tensor | MixedPrompts | None = None,
        *,
        pooled: bool = False,
    ) -> ImageFeatures:
        """Encode pixels [B, 3, S, S] of the spec's size.

        Raises:
            MismatchError: Pixels of another size, or prompts for a model that takes none.
        """
        side = self.spec.image_size
        if tuple(pixels.shape[1:]) != (3, side, side):
            raise MismatchError(
                f"the graphs of {self.spec.name} take images of 3 x {side} x {side}, "
                f"not {' x '.join(map(str, pixels.shape[1:]))}"
            )
        if self._alone and len(pixels) > 1:
            each = enumerate(pixels.split(1))
            return join_images(
                [self.encode_image(one, prompts_of(visual_prompts, row), pooled=pooled) for row, one in each]
            )
        image = self.sessions[IMAGE]
        entering: dict[str, Tensor] = {}
        n = 0
        if self.spec.takes_visual_prompts:
            entering, n = self._visual(visual_prompts, len(pixels), image.width("prompts", 1))
        elif visual_prompts is not None:
            raise MismatchError(f"{self.spec.name} has no vision transformer, so it takes no visual prompts")
        summary = "pooled" if "pooled" in image.outputs else "hidden"
        names = [name for name in image.outputs if pooled or name not in ("pooled", "hidden")]
        made = dict(zip(names, image.run(names, pixels=pixels.float(), **entering), strict=True))
        feature = made.pop(summary, None)
        if feature is not None and summary == "hidden":
            (feature,) = self.sessions[POOLED].run(["pooled"], hidden=feature, **entering)
        fine = tuple(x for name, x in made.items() if name.startswith("fine"))
        activations = tuple(x for name, x in made.items() if name.startswith("activation"))
        grid = (side // self.spec.patch_size,) * 2
        return ImageFeatures(activations, fine, grid, n, feature)

    def _visual(
        self, prompts: Tensor | MixedPrompts | None, rows: int, depth: int
    ) -> tuple[dict[str, Tensor], int]:
        mixed = as_mixed(prompts, rows, self.spec.vision_width)
        depths = torch.tensor(mixed.depths)[:, None]
        own = torch.arange(depth) < depths
        return {"prompts": _deepened(mixed.values, depth), "own": own}, mixed.values.shape[2]

    def encode_text(self, tokens: Tokens, text_prompts: Tensor | MixedPrompts | None = None) -> TextFeatures:
        """Encode tokens, each row with prompts of its own depth and number, or none."""
        if self._alone and len(tokens) > 1:
            rows = range(len(tokens))
            return stack_texts(
                [self.encode_text(tokens_of(tokens, row), prompts_of(text_prompts, row)) for row in rows]
            )
        session = self.sessions[TEXT]
        depth, positions = session.width("prompts", 1), self.spec.text_positions
        mixed = as_mixed(text_prompts, len(tokens), self.spec.text_width)
        entering = RowsPrompts(mixed, positions)
        eos = first_eos(tokens.ids, self.eos)
        kept = entering.fit(tokens, positions)
        # The words move behind the prompts, whose places hold BOS until the graph writes them.
        length = min(kept.ids.shape[1] + entering.most, positions)
        source = torch.arange(length) - entering.numbers
        at = source.clamp(0, kept.ids.shape[1] - 1)
        ids, mask = kept.ids.gather(1, at), kept.mask.gather(1, at) * (source < kept.ids.shape[1])
        deep = torch.arange(depth) < torch.tensor(mixed.depths)[:, None]  # [B, D]
        made = session.run(
            list(session.outputs),
            ids=ids,
            mask=mask,
            at=entering.moved(eos).clamp(max=positions - 1),
            prompts=_deepened(mixed.values, depth),
            own=deep[:, :, None] & entering.own[:, None],
        )
        return TextFeatures(made[0]) if len(made) == 1 else TextFeatures(made[0], made[1], mask == 0)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> Decoded:
        """Draw the mask."""
        if self._alone and len(text) > 1:
            rows = torch.arange(len(text)).split(1)
            made = [self.decode(image.select(row), text.select(row)) for row in rows]
            return Decoded(torch.cat([one.grid for one in made]), torch.cat([one.logits for one in made]))
        named = {f"activation{i}": x for i, x in enumerate(image.activations)}
        named |= {f"fine{i}": x for i, x in enumerate(image.fine)}
        named["cond"] = text.cond
        if text.words is not None and text.padding is not None:
            named |= {"words": text.words, "padding": text.padding}
        grid, logits = self.sessions[DECODER].run(["grid", "logits"], **named)
        return Decoded(grid, logits)


def as_mixed(prompts: Tensor | MixedPrompts | None, rows: int, width: int) -> MixedPrompts:
    """Prompts of whatever form, none included, as each row's own.

    Raises:
        ValueError: They do not fit so many rows.
    """
    if prompts is None:
        return MixedPrompts(torch.zeros(rows, 1, 0, width), (0,) * rows, (0,) * rows)
    if not isinstance(prompts, MixedPrompts):
        values = torch.stack(per_depth(prompts, rows), dim=1)
        return MixedPrompts(values, (values.shape[1],) * rows, (values.shape[2],) * rows)
    if len(prompts.values) != rows:
        raise ValueError(f"prompts of {len(prompts.values)} rows do not fit {rows} rows")
    return prompts


def _deepened(values: Tensor, depth: int) -> Tensor:
    """[B, D, n, d] to so many levels; zeros are added, and levels that no layer reads dropped."""
    if values.shape[1] >= depth:
        return values[:, :depth].float()
    rows, have, *rest = values.shape
    return torch.cat([values.float(), torch.zeros(rows, depth - have, *rest)], dim=1)
