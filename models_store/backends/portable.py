"""Graphs in a folder that explains itself, for whoever has only numpy and ONNX Runtime."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from models_store.backends.building import Manifest
from models_store.backends.families import family_parts
from models_store.files import folder_aside
from models_store.vlsm import FrozenVLSM

PHRASES = ("liver", "polyp", "retinal blood vessels")

README = """# {name} as ONNX graphs

Base model `{name}` (weights {digest}), {precision}; written by TuneVLSeg Studio.
Research use only. Not a medical device. The base model's own licence applies.

| file | inputs | outputs |
| --- | --- | --- |
| `image.onnx` | `pixels` [B, 3, {side}, {side}], `prompts` [B, {vision}, n, {vision_width}], \
`own` [B, {vision}] | `activation*`, `fine*` where there are any, `hidden` |
| `pooled.onnx` | `hidden`, `prompts`, `own` | `pooled` [B, {projection}] |
| `text.onnx` | `ids`, `mask` [B, T], `at` [B], `prompts` [B, {text}, n, {text_width}], \
`own` [B, {text}, n] | `cond` [B, {projection}] |
| `decoder.onnx` | `cond`, `activation*`, `fine*` | `grid`, `logits` [B, 1, {side}, {side}] |

Pixels are in 0..1, less `mean`, over `std` (see `model.json`). Prompts of a checkpoint
(`adapter_model.safetensors`: `text` and `visual`, [depth, n, width]) go into `prompts`, zeros below
them up to full depth; `own` is true for levels (and, for text, places) a row has. No prompts: n = 0.
For text, the words move n places right behind BOS; the n places hold any id, and `at` is where EOS
then stands. `pooled` is needed only where prompts follow the image. A checkpoint's head reads `grid`.

`python example.py` segments a drawing under each phrase of `phrases.json`, with numpy and
onnxruntime alone. Other phrases need the base model's tokenizer. The graphs use operators of
ONNX Runtime (`com.microsoft`), so other runtimes do not run them.
"""


def write_portable(graphs: Path, manifest: Manifest, base: FrozenVLSM, out: Path) -> None:
    """Write graphs, sizes, some tokenised phrases, a README and an example, whole or not at all.

    Args:
        graphs: Folder of the cached graphs.
        manifest: Theirs.
        base: The model in torch.
        out: A folder that does not exist.
    """
    spec = base.spec
    model: dict[str, Any] = {
        "name": spec.name,
        "digest": spec.digest,
        "precision": manifest.precision,
        "max_error": manifest.max_error,
        **spec.preprocessing,
        "vision_layers": spec.vision_layers,
        "vision_width": spec.vision_width,
        "text_layers": spec.text_layers,
        "text_width": spec.text_width,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(out.parent) as aside:
        for name in manifest.files:
            shutil.copyfile(graphs / name, aside / name)
        (aside / "model.json").write_text(json.dumps(model, indent=2))
        (aside / "phrases.json").write_text(json.dumps(_phrases(base), indent=2))
        (aside / "README.md").write_text(
            README.format(
                name=spec.name,
                digest=spec.digest,
                precision=manifest.precision,
                side=spec.image_size,
                vision=spec.vision_layers,
                vision_width=spec.vision_width,
                text=spec.text_layers,
                text_width=spec.text_width,
                projection=spec.projection_dim,
            )
        )
        example = resources.files("models_store.backends").joinpath("example.py").read_text(encoding="utf-8")
        (aside / "example.py").write_text(example)
        aside.rename(out)


def _phrases(base: FrozenVLSM) -> dict[str, dict[str, Any]]:
    """Ids of phrases and where each one's EOS stands."""
    eos = family_parts(base).eos(base)
    found = {}
    for phrase in PHRASES:
        ids = np.asarray(base.tokenize([phrase]).ids[0])
        at = int(ids.argmax() if eos == 2 else (ids == eos).argmax())
        found[phrase] = {"ids": ids.tolist(), "at": at}
    return found
