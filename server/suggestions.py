"""What to label next in a dataset, by the checkpoints in the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import torch

from models_store.errors import BadInputError
from models_store.packs import ZERO_SHOT, PromptPack
from models_store.registry import CANDIDATE, CHAMPION, Reference
from models_store.vlsm import VLSMSpec
from server.engine import Engine
from trainer.acquisition.encoded_once import EncodedOnce
from trainer.acquisition.images import ImageFiles
from trainer.acquisition.suggest import OF_MASKS, Candidates, Suggestion, suggest
from trainer.labels.listing import ListedImage, list_images
from trainer.labels.new import State
from trainer.labels.store import LabelStore

# A person waits for the answer, and each image costs an encoding and a decoding per checkpoint and phrase.
MOST_PHRASES = 4
MOST_LABELLED = 500
UNTUNED = "zero-shot"


@dataclass(frozen=True)
class Queue:
    """Unlabelled images in order.

    Attributes:
        images: Those suggested, most worth labelling first, each with why.
        considered: How many unlabelled images were compared: the first so many that were added.
        unlabelled: How many there are.
        checkpoints: Whose masks were looked at, the champion first.
        phrases: What they were asked for.
    """

    images: tuple[tuple[ListedImage, Suggestion], ...]
    considered: int
    unlabelled: int
    checkpoints: tuple[str, ...]
    phrases: tuple[str, ...]


class Suggestions:
    """Orders images; what the model makes of them is kept from one question to the next.

    Args:
        engine: Its model and its checkpoints.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._lock = Lock()
        self._once: EncodedOnce | None = None

    def queue(
        self,
        store: LabelStore,
        dataset: str,
        *,
        order: str,
        limit: int,
        pool: int,
        phrases: Sequence[str] = (),
        seed: int = 0,
    ) -> Queue:
        """The images of a dataset to label next.

        Args:
            store: Labelled data.
            dataset: The dataset.
            order: One of :data:`trainer.acquisition.suggest.ORDERS`.
            limit: At most so many images.
            pool: At most so many unlabelled images are compared.
            phrases: What to ask them for; default, what the dataset's accepted annotations show.
            seed: Of the random order.

        Raises:
            UnknownLabelsError: There is no such dataset.
            BadInputError: Nothing is known that images could be asked for.
        """
        unlabelled = store.counts(dataset).unlabelled
        images = list_images(store, dataset, labelled=False, limit=pool)
        labelled = list_images(store, dataset, labelled=True, limit=MOST_LABELLED)
        asked = tuple(phrases) or _phrases(labelled)
        if order in OF_MASKS and not asked:
            raise BadInputError(
                f"{dataset} has no accepted annotation to take a phrase from; give one with phrase=..."
            )
        packs = self._packs(dataset)
        # One question at a time: more would only wait for the same processor.
        with self._lock, torch.inference_mode():
            spec = self._engine.vlsm.spec
            if self._once is None:
                self._once = EncodedOnce(self._engine.vlsm)
            given = Candidates(
                self._once,
                packs,
                _files(store, images, spec),
                [asked] * len(images),
                _files(store, labelled, spec),
                device=torch.device(self._engine.device),
            )
            found = suggest(given, order, limit=limit, seed=seed) if images else []
        return Queue(
            tuple((images[each.index], each) for each in found),
            len(images),
            unlabelled,
            tuple(packs) if order in OF_MASKS else (),
            asked if order in OF_MASKS else (),
        )

    def _packs(self, dataset: str) -> dict[str, PromptPack]:
        """Champion, candidate and the untuned model; the two first where they are there and fit."""
        registry = self._engine.registry
        aliases = registry.aliases(dataset) if registry.has(dataset) else {}
        packs = {}
        for version in dict.fromkeys(aliases[alias] for alias in (CHAMPION, CANDIDATE) if alias in aliases):
            reference = Reference(dataset, version)
            packs[str(reference)] = self._engine.packs.get(reference).pack
        return packs | {UNTUNED: ZERO_SHOT}


def _phrases(labelled: Sequence[ListedImage]) -> tuple[str, ...]:
    """What accepted annotations show, in words, most frequent first."""
    counts: dict[str, int] = {}
    for image in labelled:
        for annotation in image.annotations:
            if annotation.state is State.ACCEPTED:
                counts[annotation.phrase] = counts.get(annotation.phrase, 0) + 1
    return tuple(sorted(counts, key=lambda phrase: (-counts[phrase], phrase))[:MOST_PHRASES])


def _files(store: LabelStore, images: Sequence[ListedImage], spec: VLSMSpec) -> ImageFiles:
    names = [image.name for image in images]
    return ImageFiles(names, [store.blobs.path(image.picture) for image in images], spec)
