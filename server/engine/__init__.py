"""The engine: one frozen model, any number of checkpoints."""

from server.engine.engine import DEFAULT_THRESHOLD, Clock, Engine, Segmentation
from server.engine.events import EngineEvents, NoEvents

__all__ = ["DEFAULT_THRESHOLD", "Clock", "Engine", "EngineEvents", "NoEvents", "Segmentation"]
