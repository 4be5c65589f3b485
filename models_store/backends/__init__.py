"""Ways to run a frozen model: torch, or ONNX Runtime in single precision or on 8-bit integers."""
