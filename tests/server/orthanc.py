"""A real Orthanc with DICOMweb, Debian's, on the loopback address."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from dicomweb_client import DICOMwebClient

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
# A busy machine may take long; a healthy Orthanc answers within a second or two.
DEADLINE_SECONDS = 60


def missing() -> str | None:
    """What of Orthanc is not installed, or None."""
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (Debian: orthanc)"
    if not PLUGIN.exists():
        return "Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)"
    return None


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_orthanc(folder: Path) -> Iterator[DICOMwebClient]:
    """Start an empty Orthanc that keeps its files in a folder; ends with the block."""
    web, dicom = free_port(), free_port()
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": web,
        "DicomPort": dicom,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path, log = folder / "orthanc.json", folder / "orthanc.log"
    path.write_text(json.dumps(settings))
    with log.open("wb") as out:
        process = subprocess.Popen(["Orthanc", str(path)], stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for(process, f"http://127.0.0.1:{web}/dicom-web/studies", log)
            yield DICOMwebClient(f"http://127.0.0.1:{web}/dicom-web")
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def wait_for(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Ask until it answers; the process may take another's port, or not come up at all."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, f"Orthanc ended:\n{log.read_text(errors='replace')}"
        try:
            if httpx.get(address, timeout=DEADLINE_SECONDS).status_code == 200:
                return
        except httpx.TransportError:
            # Not listening yet: wait on the process, which returns early only if it ends.
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
    raise AssertionError(f"Orthanc did not answer at {address}:\n{log.read_text(errors='replace')}")
