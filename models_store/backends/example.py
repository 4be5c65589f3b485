"""Segment a drawing with the graphs beside this file; needs numpy and onnxruntime alone.

python example.py [pixels.npy]     pixels: [3, S, S] float32 in 0..1; writes masks.npz
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]

HERE = Path(__file__).parent
MODEL = json.loads((HERE / "model.json").read_text())
PHRASES = json.loads((HERE / "phrases.json").read_text())


def load(name: str) -> onnxruntime.InferenceSession:
    """One of the graphs."""
    return onnxruntime.InferenceSession(str(HERE / f"{name}.onnx"), providers=["CPUExecutionProvider"])


def no_prompts(layers: int, width: int) -> np.ndarray:
    """A checkpoint's prompts would go here, as [1, layers, n, width]."""
    return np.zeros((1, layers, 0, width), np.float32)


def drawing(side: int) -> np.ndarray:
    """A pink disc."""
    y, x = np.mgrid[:side, :side] / side
    disc = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06).astype(np.float32)
    return np.stack([0.2 + 0.6 * disc, 0.2 + 0.1 * disc, 0.2 + 0.1 * disc]).astype(np.float32)


side = MODEL["image_size"]
picture = np.load(sys.argv[1]) if len(sys.argv) > 1 else drawing(side)
mean, std = (np.array(MODEL[key], np.float32)[:, None, None] for key in ("mean", "std"))

image = load("image")
outputs = [output.name for output in image.get_outputs() if output.name != "hidden"]
visual = {
    "pixels": ((picture - mean) / std)[None],
    "prompts": no_prompts(MODEL["vision_layers"], MODEL["vision_width"]),
    "own": np.zeros((1, MODEL["vision_layers"]), bool),
}
# Once for all phrases.
features = dict(zip(outputs, image.run(outputs, visual), strict=True))

text, decoder = load("text"), load("decoder")
masks = {}
for phrase, tokens in PHRASES.items():
    ids = np.array([tokens["ids"]], np.int64)
    words = {
        "ids": ids,
        "mask": np.ones_like(ids),
        "at": np.array([tokens["at"]], np.int64),
        "prompts": no_prompts(MODEL["text_layers"], MODEL["text_width"]),
        "own": np.zeros((1, MODEL["text_layers"], 0), bool),
    }
    (cond,) = text.run(["cond"], words)
    (logits,) = decoder.run(["logits"], {"cond": cond, **features})
    masks[phrase] = logits[0, 0]
    print(f"{phrase}: {np.mean(logits > 0):.1%} of the image")
np.savez("masks.npz", **masks)
