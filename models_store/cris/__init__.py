"""CRIS (Wang et al., CVPR 2022): CLIP-driven referring image segmentation."""

from models_store.torchvision_shim import ensure_torchvision_imports

# Before open_clip, which imports torchvision.
ensure_torchvision_imports()
