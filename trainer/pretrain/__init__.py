"""Pretraining of the embedded base models."""

from models_store.torchvision_shim import ensure_torchvision_imports

# Before transformers' models, which import torchvision where it is installed.
ensure_torchvision_imports()
