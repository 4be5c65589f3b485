"""What the benchmark calls the learned tensors, and what their names and shapes say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models_store.errors import BadInputError, DamagedError
from models_store.heads import HeadMode
from models_store.vlsm import VLSMSpec

CONTEXT_VECTORS = "context_vectors"
PROJECTIONS = ("projection_layers", "textual_projection_layers", "visual_projection_layers")
RATIO = "residual_ratio"
# The head's entries, theirs to ours.
HEAD_NAMES = {
    "clipseg": {
        "additive_decoder_layer.1.weight": "head.conv.weight",
        "additive_decoder_layer.1.bias": "head.conv.bias",
    },
    "cris": {
        "additive_decoder_layer.0.weight": "head.reduce.weight",
        "additive_decoder_layer.2.weight": "head.conv.weight",
        "additive_decoder_layer.2.bias": "head.conv.bias",
    },
}
# Where each strategy's learner keeps the projections, theirs to ours.
OWN_NAMES: dict[str, dict[str, str]] = {
    "coop": {},
    "vpt": {},
    "cocoop": {"projection_layers": "shift.nets"},
    "maple": {"projection_layers": "projections"},
    "shared_attention": {"projection_layers": "layers"},
    "shared_separate": {"textual_projection_layers": "textual", "visual_projection_layers": "visionary"},
}
# What the benchmark's CLIPSeg classes do with their head; those for CRIS mix.
CLIPSEG_HEADS = {"coop": HeadMode.NONE, "cocoop": HeadMode.NONE, "vpt": HeadMode.ADD}

Layer = dict[str, Tensor]


@dataclass(frozen=True)
class Learned:
    """The learned entries of a file.

    Attributes:
        context: Vectors [D, n, c].
        projections: By group, each depth's entries.
    """

    context: Tensor
    projections: dict[str, list[Layer]]

    @classmethod
    def of(cls, entries: dict[str, Tensor], spec: VLSMSpec) -> Learned:
        """Sort entries by group and depth.

        Raises:
            DamagedError: Vectors or a depth's projections are missing, or there are unknown entries.
        """
        context = entries.get(CONTEXT_VECTORS)
        if context is None:
            raise DamagedError(f"the file has no learned vectors ({CONTEXT_VECTORS})")
        if context.ndim != 3 or not context.numel():
            raise DamagedError(
                f"the learned vectors have shape {tuple(context.shape)}; expected [depth, n, width]"
            )
        found: dict[str, dict[int, Layer]] = {}
        for key, value in entries.items():
            if key == CONTEXT_VECTORS:
                continue
            group, _, rest = key.partition(".")
            at, _, name = rest.partition(".")
            if group not in PROJECTIONS or not at.isdecimal() or not name:
                raise DamagedError(f"the learned entry {key!r} is of no known kind")
            found.setdefault(group, {}).setdefault(int(at), {})[name] = value
        depth = context.shape[0]
        for group, layers in found.items():
            if sorted(layers) != list(range(depth)):
                raise DamagedError(f"{group} has depths {sorted(layers)}, but the vectors have {depth}")
        return cls(context, {group: [layers[k] for k in range(depth)] for group, layers in found.items()})

    @property
    def unified(self) -> bool:
        """Whether all depths hold copies of one projection, as a shared one is saved."""
        groups = self.projections.values()
        return len(self.context) > 1 and bool(groups) and all(_all_equal(layers) for layers in groups)

    def options(self, strategy: str) -> dict[str, Any]:
        """The options of a learner of these sizes."""
        depth, n, width = self.context.shape
        options: dict[str, Any] = {"depth": depth, "n": n}
        if set(self.projections) != set(OWN_NAMES[strategy]):
            raise DamagedError(
                f"{strategy} has {', '.join(OWN_NAMES[strategy]) or 'no projections'}, "
                f"but the file has {', '.join(sorted(self.projections)) or 'none'}"
            )
        if strategy == "shared_separate":
            options["width"] = width
        if strategy == "shared_attention":
            options["feedforward"] = _matrix(self.projections["projection_layers"][0], "linear1.weight")[0]
        elif self.projections:
            options |= projection_options(next(iter(self.projections.values()))[0])
        if self.projections:
            options["unified"] = self.unified
        return options


def strategy_of(learned: Learned, spec: VLSMSpec) -> str:
    """The strategy whose names and shapes these are.

    Raises:
        BadInputError: Several or none could be.
    """
    width, groups = learned.context.shape[2], set(learned.projections)
    if "textual_projection_layers" in groups or "visual_projection_layers" in groups:
        return "shared_separate"
    if groups:
        layer = learned.projections["projection_layers"][0]
        if "self_attn.in_proj_weight" in layer:
            return "shared_attention"
        outputs = _last_matrix(layer).shape[0]
        candidates = {"cocoop": spec.text_width, "maple": spec.vision_width}
        fitting = [name for name, out in candidates.items() if out == outputs]
    else:
        candidates = {"coop": spec.text_width, "vpt": spec.vision_width}
        fitting = [name for name, c in candidates.items() if c == width]
    if len(fitting) == 1:
        return fitting[0]
    which = f"could be {' or '.join(fitting)}: name the strategy" if fitting else "fit no strategy"
    raise BadInputError(
        f"learned vectors of width {width} with {', '.join(sorted(groups)) or 'no projections'} {which} "
        f"({spec.name} has text width {spec.text_width} and vision width {spec.vision_width})"
    )


def default_head(strategy: str, family: str) -> HeadMode:
    """What the benchmark's class of a strategy does with its head."""
    return CLIPSEG_HEADS.get(strategy, HeadMode.MIX) if family == "clipseg" else HeadMode.MIX


def projection_options(layer: Layer) -> dict[str, Any]:
    """The options ``hidden``, ``lora``, ``norm`` and ``final_bias`` of a projection's entries."""
    if "weight" in layer:
        return {"hidden": None}
    linears = {_index(k): v for k, v in layer.items() if k.endswith(".weight") and v.ndim == 2}
    norms = [k for k, v in layer.items() if k.endswith(".weight") and v.ndim == 1]
    at = sorted(linears)
    if at not in ([0], [0, 1]) and (len(at) < 2 or at != list(range(0, 2 * len(at), 2))):
        raise DamagedError(f"a projection has the entries {', '.join(sorted(layer))}, which is none of ours")
    lora = at in ([0], [0, 1])
    # One matrix stands for a rank beyond what comes out, whatever it was.
    widths = [linears[0].shape[0] + 1] if at == [0] else [linears[i].shape[0] for i in at[:-1]]
    hidden = widths[0] if len(widths) == 1 else widths
    last = norms[0].removesuffix("weight") if norms else f"{at[-1]}."
    return {"hidden": hidden, "lora": lora, "norm": bool(norms), "final_bias": f"{last}bias" in layer}


def own_names(strategy: str, learned: Learned) -> dict[str, Tensor]:
    """The learner's state, without a head; copies of a unified projection become one."""
    state = {"context": learned.context}
    for group, ours in OWN_NAMES[strategy].items():
        layers = learned.projections[group]
        for depth, layer in enumerate(layers[:1] if learned.unified else layers):
            state |= {f"{ours}.{depth}.{name}": value for name, value in layer.items()}
    return state


def _all_equal(layers: list[Layer]) -> bool:
    first = layers[0]
    return all(
        layer.keys() == first.keys() and all(torch.equal(layer[k], first[k]) for k in first)
        for layer in layers[1:]
    )


def _index(name: str) -> int:
    head = name.partition(".")[0]
    return int(head) if head.isdecimal() else -1


def _last_matrix(layer: Layer) -> Tensor:
    matrices = {_index(k): v for k, v in layer.items() if v.ndim == 2}
    if not matrices:
        raise DamagedError(f"a projection has no matrix among its entries {', '.join(sorted(layer))}")
    return matrices[max(matrices)]


def _matrix(layer: Layer, name: str) -> torch.Size:
    if name not in layer or layer[name].ndim != 2:
        raise DamagedError(f"a projection lacks the matrix {name}")
    return layer[name].shape
