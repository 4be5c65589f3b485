"""The forward pass over pieces of any checkpoints, through the caches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from models_store.mixed import decode_rows, encode_images, encode_texts
from models_store.vlsm import FrozenVLSM, ImageFeatures, TextFeatures
from server.engine.caches import ByteCache, image_bytes, own_memory, text_bytes
from server.engine.events import EngineEvents
from server.engine.pieces import Made, Piece
from server.engine.results import CacheUse
from server.engine.stopwatch import Stopwatch

# On a processor larger passes are no faster (benchmarks/serving.py --part passes) and hold more memory.
CPU_ROWS = 4


class ImageKey(NamedTuple):
    """All that an image's features depend on."""

    image: str
    base: str
    visual: str
    dtype: str


class TextKey(NamedTuple):
    """All that a phrase's features depend on; the image's digest where prompts follow the image."""

    pack: str
    phrase: str
    image: str


class Forward:
    """Makes the masks of pieces; one thread at a time.

    Args:
        vlsm: The frozen model.
        device: Where it is.
        most_rows: Rows of one forward pass.
        image_budget, text_budget: Bytes the caches may hold.
        events: Told of steps and caches.
    """

    def __init__(
        self,
        vlsm: FrozenVLSM,
        *,
        device: str,
        most_rows: int,
        image_budget: int,
        text_budget: int,
        events: EngineEvents,
    ):
        self.vlsm = vlsm
        self.device = torch.device(device)
        # Texts go together, being small; of images and maps, no more than a pass takes.
        self.pass_rows = min(most_rows, CPU_ROWS) if self.device.type == "cpu" else most_rows
        self.events = events
        self.images: ByteCache[ImageKey, ImageFeatures] = ByteCache(
            kind="image", budget=image_budget, size_of=image_bytes, events=events
        )
        self.texts: ByteCache[TextKey, TextFeatures] = ByteCache(
            kind="text", budget=text_budget, size_of=text_bytes, events=events
        )
        self._dtype = str(getattr(vlsm, "dtype", torch.float32))

    def image_key(self, digest: str, visual_digest: str) -> ImageKey:
        """Where the features of an image are kept."""
        return ImageKey(digest, self.vlsm.spec.digest, visual_digest, self._dtype)

    def cached(self, digest: str, visual_digest: str, *, pooled: bool) -> ImageFeatures | None:
        """The features of an image, if they are there with what is asked for."""
        features = self.images.get(self.image_key(digest, visual_digest))
        return None if features is None or (pooled and features.pooled is None) else features

    @torch.inference_mode()
    def __call__(self, pieces: Sequence[Piece]) -> None:
        """Make the masks and give each piece its own."""
        started = time.perf_counter()
        watch = Stopwatch(self.device)
        images, image_use = self._encode_images(pieces)
        watch.lap("image")
        texts, text_use = self._encode_texts(pieces, images)
        watch.lap("text")
        rows = [
            (piece.pack, image) for piece, image in zip(pieces, images, strict=True) for _ in piece.phrases
        ]
        logits = decode_rows(
            self.vlsm,
            [pack for pack, _ in rows],
            [image for _, image in rows],
            texts,
            most=self.pass_rows,
        ).cpu()
        watch.lap("mask")
        steps = watch.seconds()
        for name, seconds in steps.items():
            self.events.step(name, seconds)
        timings = {name: seconds * 1000 for name, seconds in steps.items()}
        start = 0
        for piece, image, text in zip(pieces, image_use, text_use, strict=True):
            mine = logits[start : start + piece.rows]
            start += piece.rows
            use: dict[str, CacheUse] = {"image": image, "text": text}
            piece.made.set_result(Made(mine, dict(timings), started, use, len(rows)))

    def _encode_images(self, pieces: Sequence[Piece]) -> tuple[list[ImageFeatures], list[CacheUse]]:
        keys = [self.image_key(piece.digest, piece.visual_digest) for piece in pieces]
        found: dict[ImageKey, ImageFeatures] = {}
        missing: dict[tuple[ImageKey, bool], Piece] = {}
        use: list[CacheUse] = []
        for key, piece in zip(keys, pieces, strict=True):
            pooled = piece.pack.needs_pooled
            have = piece.features or self.cached(piece.digest, piece.visual_digest, pooled=pooled)
            if have is not None:
                # With the pooled feature if any has it: whoever does not read it is none the wiser.
                if key not in found or have.pooled is not None:
                    found[key] = have
                use.append("hit")
            else:
                use.append("hit" if (key, pooled) in missing else "miss")
                missing.setdefault((key, pooled), piece)
            self.events.cache("image", use[-1] == "hit")
        if missing:
            firsts = list(missing.values())
            pixels = [piece.pixels.to(self.device) for piece in firsts if piece.pixels is not None]
            encoded = encode_images(self.vlsm, pixels, [piece.pack for piece in firsts], most=self.pass_rows)
            for (key, _), features in zip(missing, encoded, strict=True):
                kept = features.map(own_memory)
                if key not in found or kept.pooled is not None:
                    found[key] = kept
                    self.images.put(key, kept)
        return [found[key] for key in keys], use

    def _encode_texts(
        self, pieces: Sequence[Piece], images: Sequence[ImageFeatures]
    ) -> tuple[list[TextFeatures], list[CacheUse]]:
        found: dict[TextKey, TextFeatures] = {}
        missing: dict[TextKey, tuple[Piece, ImageFeatures]] = {}
        keys: list[TextKey] = []
        use: list[CacheUse] = []
        for piece, image in zip(pieces, images, strict=True):
            new = 0
            for phrase in piece.phrases:
                key = TextKey(piece.pack_digest, phrase, piece.digest if piece.pack.needs_pooled else "")
                keys.append(key)
                have = found.get(key) or self.texts.get(key)
                if have is not None:
                    found[key] = have
                computed = have is None and key not in missing
                if computed:
                    missing[key] = (piece, image)
                new += computed
                self.events.cache("text", not computed)
            use.append("miss" if new else "hit")
        if missing:
            encoded = encode_texts(
                self.vlsm,
                [key.phrase for key in missing],
                [piece.pack for piece, _ in missing.values()],
                [image for _, image in missing.values()],
            )
            for key, features in zip(missing, encoded, strict=True):
                found[key] = features.map(own_memory)
                self.texts.put(key, found[key])
        return [found[key] for key in keys], use
