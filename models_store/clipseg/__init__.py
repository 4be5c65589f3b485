"""CLIPSeg (Lüddecke and Ecker, 2022) as a frozen model that takes prompts."""

from models_store.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
