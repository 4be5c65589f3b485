"""The engine: one frozen model, any number of checkpoints."""

from server.engine.engine import Engine
from server.engine.events import EngineEvents, NoEvents
from server.engine.results import DEFAULT_THRESHOLD, Clock, Segmentation
from server.engine.uploads import PutImage

__all__ = [
    "DEFAULT_THRESHOLD",
    "Clock",
    "Engine",
    "EngineEvents",
    "NoEvents",
    "PutImage",
    "Segmentation",
]
