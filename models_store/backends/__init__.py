"""Ways to run a frozen model: torch, or ONNX Runtime in single precision or on 8-bit integers."""

import os

# Read when onnxruntime is imported: recent builds keep usage data by default, and nothing is to leave here.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
