from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class TestTelemetry:
    def test_nothing_is_kept_or_sent_about_use(self, tmp_path: Path) -> None:
        # A process of its own, in which nothing has imported ONNX Runtime yet.
        code = "import models_store.backends.sessions as s; print(s.onnxruntime.get_available_providers())"
        environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
        environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
