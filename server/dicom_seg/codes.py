"""What a label is in SNOMED CT: a table kept as data, ``codes.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from pydicom.sr.coding import Code

from server.errors import UnmappedLabelError

SCHEME = "SCT"
TABLE = "codes.toml"


@dataclass(frozen=True)
class LabelCode:
    """A label's codes.

    Attributes:
        category: Of what kind it is, one of CID 7150.
        type: What it is.
        region: Where in the body, if the label says so.
        side: Left, right or both, if the label says so.
    """

    category: Code
    type: Code
    region: Code | None = None
    side: Code | None = None


def code_of(label: str) -> LabelCode:
    """Look a label up; letter case, spaces around it and a full stop at its end do not count.

    Raises:
        UnmappedLabelError: It is not in the table.
    """
    codes = _table()
    found = codes.get(" ".join(label.lower().split()).removesuffix("."))
    if found is None:
        raise UnmappedLabelError(
            f"the label {label[:100]!r} has no code in SNOMED CT here, and a DICOM Segmentation cannot do "
            f"without; mapped are {', '.join(codes)}"
        )
    return found


def label_of(type: str, region: str | None = None, side: str | None = None) -> str | None:
    """The first label of codes of SNOMED CT, or None where no label has them.

    Args:
        type: Code of what it is.
        region: Code of where in the body.
        side: Code of left, right or both.
    """
    return _labels().get((type, region, side))


def mapped_labels() -> list[str]:
    """Every label that has a code."""
    return list(_table())


@cache
def _labels() -> Mapping[tuple[str, str | None, str | None], str]:
    labels: dict[tuple[str, str | None, str | None], str] = {}
    for label, code in _table().items():
        region, side = (None if part is None else part.value for part in (code.region, code.side))
        labels.setdefault((code.type.value, region, side), label)
    return MappingProxyType(labels)


@cache
def _table() -> Mapping[str, LabelCode]:
    content = tomllib.loads(files("server.dicom_seg").joinpath(TABLE).read_text(encoding="utf-8"))
    categories = {name: _code(said) for name, said in content["category"].items()}
    codes = {}
    for entry in content["label"]:
        parts = {name: _code(entry[name]) for name in ("type", "region", "side") if name in entry}
        for label in entry["names"]:
            if label in codes:
                raise ValueError(f"{TABLE} has the label {label!r} twice")
            codes[label] = LabelCode(categories[entry["category"]], **parts)
    return MappingProxyType(codes)


def _code(said: Mapping[str, Any]) -> Code:
    return Code(said["code"], SCHEME, said["meaning"])
