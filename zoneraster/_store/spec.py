"""The spec of a store: everything that decides its bytes apart from the zones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pyproj import CRS

from zoneraster._grid import Chunking, Grid
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import GridError, StoreError, StoreMismatchError

SPEC_KEY = f"{PRIVATE}spec.json"
MANIFEST_KEY = f"{PRIVATE}manifest.parquet"
INDEX_KEY = f"{PRIVATE}chunks.parquet"
KEYS_KEY = f"{PRIVATE}keys.parquet"
PLAN_KEY = f"{PRIVATE}plan.json"
REPORT_KEY = f"{PRIVATE}report.json"
FORMAT_VERSION = 1
# Raised whenever equal inputs would give other bytes.
BURN_VERSION = 1
# Numbers of 8 bytes that Blosc takes at once.
MAX_COORDINATES = (2**31 - 17) // 8
OVERLAPS = ("last", "first", "error")


@dataclass(frozen=True, slots=True)
class Spec:
    """Options of a store, as kept in ``.zoneraster/spec.json``.

    Parameters
    ----------
    grid : Grid
    chunks : (int, int)
        Rows and columns of a chunk.
    batch : int
        Chunks along one side of a batch.
    dtype : str
        "uint8", "uint16" or "uint32".
    overlap : {"last", "first", "error"}
    priority : str or None
        Column that orders the painting, highest last.
    all_touched : bool
    min_pixels : {0, 1}
    integrity : {"receipt", "crc32c"}
    key : str
        Name of the key column, "row" when zones are known by their row number.
    plan : str
        Digest of the plan, empty while there is none.
    inputs : str
        Digest of the zones and options that the plan was made of.
    """

    grid: Grid
    chunks: tuple[int, int]
    batch: int
    dtype: str
    overlap: str = "last"
    priority: str | None = None
    all_touched: bool = False
    min_pixels: int = 0
    integrity: str = "receipt"
    key: str = "row"
    plan: str = ""
    inputs: str = ""

    def __post_init__(self) -> None:
        if max(self.grid.shape) > MAX_COORDINATES:
            raise GridError(
                f"a grid of {self.grid.height:,} x {self.grid.width:,} pixels is too long for a "
                f"store: an axis has at most {MAX_COORDINATES:,} coordinates, which are written as "
                "one chunk; take larger pixels, or several stores"
            )
        if self.overlap not in OVERLAPS:
            raise StoreError(f"overlap must be one of {', '.join(OVERLAPS)}, not {self.overlap!r}")
        if self.min_pixels not in {0, 1}:
            raise StoreError(f"min_pixels must be 0 or 1, not {self.min_pixels!r}")
        if self.integrity not in {"receipt", "crc32c"}:
            raise StoreError(f"integrity must be 'receipt' or 'crc32c', not {self.integrity!r}")

    @property
    def chunking(self) -> Chunking:
        """How the grid is cut."""
        return Chunking(self.grid.shape, self.chunks, self.batch)

    @property
    def itemsize(self) -> int:
        """Bytes of a pixel."""
        return np.dtype(self.dtype).itemsize

    def hash(self) -> bytes:
        """Hash of what decides the bytes of a chunk beside its records, 16 bytes.

        One store never changes any of it, see `check_same`: the hash keeps the fingerprints of
        different stores apart.
        """
        grid = self.grid.to_dict()
        # The text of a CRS varies with the PROJ release; its authority code does not.
        authority = self.grid.crs.to_authority()
        # WKT of a CRS with TOWGS84 differs once it was written and read again, and not after that.
        wkt = CRS.from_wkt(self.grid.crs.to_wkt()).to_wkt()
        grid["crs"] = ":".join(authority) if authority else wkt
        said = [BURN_VERSION, grid, self.chunks, self.dtype, self.all_touched, self.integrity]
        text = json.dumps(said, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def digest(self) -> str:
        """Hash of all of it, the plan's digest too: what workers must agree on."""
        return hashlib.blake2b(self.to_json(), digest_size=16).hexdigest()

    def to_json(self) -> bytes:
        """JSON text."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        said = {"format_version": FORMAT_VERSION, "grid": self.grid.to_dict(), **rest}
        return json.dumps(said, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, *, where: str) -> Spec:
        """Inverse of `to_json`.

        Raises
        ------
        StoreError
            For unreadable text or a newer format.
        """
        try:
            said: dict[str, Any] = json.loads(data)  # Any: JSON
            version = said.pop("format_version")
            if version != FORMAT_VERSION:
                raise StoreError(
                    f"{where} has format version {version}, this zoneraster reads "
                    f"{FORMAT_VERSION}: update zoneraster"
                )
            grid = Grid.from_dict(said.pop("grid"))
            said["chunks"] = tuple(said["chunks"])
            return cls(grid=grid, **said)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise StoreError(
                f"{where} cannot be read ({err}): restore it, or build into a new folder"
            ) from err


def load_spec(location: Location, blobs: Blobs) -> Spec | None:
    """Spec of a store; None when the place is empty.

    Raises
    ------
    StoreError
        When something else is there.
    """
    try:
        data = blobs.get(SPEC_KEY)
    except FileNotFoundError:
        return None
    return Spec.from_json(data, where=f"{location}/{SPEC_KEY}")


def require_spec(location: Location, blobs: Blobs) -> Spec:
    """Spec of a store that must be there.

    Raises
    ------
    StoreError
        When there is no zoneraster store.
    """
    spec = load_spec(location, blobs)
    if spec is None:
        raise StoreError(f"no zone store at {location}: build it first")
    return spec


def check_same(old: Spec, new: Spec, *, where: str) -> None:
    """Refuse to go on with another grid, dtype or rule.

    Raises
    ------
    StoreMismatchError
        With a table of the differences.
    """
    names = [f.name for f in fields(Spec) if f.name not in {"batch", "plan", "inputs"}]
    rows = [
        (name, getattr(old, name), getattr(new, name))
        for name in names
        if getattr(old, name) != getattr(new, name)
    ]
    if rows:
        table = "\n".join(f"  {name:<12} {a!s:<40} {b!s}" for name, a, b in rows)
        raise StoreMismatchError(
            f"the store at {where} was built with other options:\n"
            f"  {'option':<12} {'store':<40} asked for\n{table}\n"
            "use the store's options, or build into a new folder"
        )
