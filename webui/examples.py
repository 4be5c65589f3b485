"""Example images, found at run time in installed packages; the repository holds none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydicom.data import get_testdata_file


@dataclass(frozen=True)
class Example:
    """An image to try.

    Attributes:
        key: Name in events of the page.
        title: What a person sees under the picture.
        phrase: What may be looked for in it.
        path: Where the installed package keeps it.
    """

    key: str
    title: str
    phrase: str
    path: Path


# Key, title, phrase, package, file name. All of these are inside the packages' wheels.
_CATALOGUE = (
    ("retina", "Retina", "retinal blood vessels", "skimage", "retina.jpg"),
    ("tissue", "Tissue", "cell nuclei", "skimage", "ihc.png"),
    ("cell", "Cell", "bright circle", "skimage", "cell.png"),
    ("ct", "Head CT", "brain", "pydicom", "J2K_pixelrep_mismatch.dcm"),
    ("mr", "Abdomen MR", "liver", "pydicom", "examples_overlay.dcm"),
    ("ultrasound", "Ultrasound", "lymph node", "pydicom", "examples_rgb_color.dcm"),
)


def find_examples() -> tuple[Example, ...]:
    """The examples whose files are installed, without any download."""
    found = []
    for key, title, phrase, package, name in _CATALOGUE:
        path = _skimage_file(name) if package == "skimage" else _pydicom_file(name)
        if path is not None and path.is_file():
            found.append(Example(key, title, phrase, path))
    return tuple(found)


def _skimage_file(name: str) -> Path | None:
    # Looked up without importing scikit-image, which takes a second and may start a download.
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "data" / name


def _pydicom_file(name: str) -> Path | None:
    found = get_testdata_file(name, download=False)
    return Path(str(found)) if found else None
