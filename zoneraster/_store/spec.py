"""The spec of a store: everything that decides its bytes apart from the zones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from pyproj import CRS

from zoneraster._burn import BURN_RULE
from zoneraster._grid import Chunking, Grid
from zoneraster._store.zarr_meta import PRODUCTS
from zoneraster._zones import is_polygons
from zoneraster.blobs import PRIVATE, Blobs, Location
from zoneraster.errors import (
    CorruptStoreError,
    GridError,
    OptionError,
    StoreBusyError,
    StoreError,
    StoreMismatchError,
    ZonerasterError,
    name_some,
    told_as,
)
from zoneraster.lock import PLANNING, holder_of

SPEC_KEY = f"{PRIVATE}spec.json"
MANIFEST_KEY = f"{PRIVATE}manifest.parquet"
INDEX_KEY = f"{PRIVATE}chunks.parquet"
KEYS_KEY = f"{PRIVATE}keys.parquet"
PLAN_KEY = f"{PRIVATE}plan.json"
REPORT_KEY = f"{PRIVATE}report.json"
FORMAT_VERSION = 1
# Numbers of 8 bytes that Blosc takes at once.
MAX_COORDINATES = (2**31 - 17) // 8
OVERLAPS = ("last", "first", "error", "sets", "layers")
# Options by another one of which chunks are burned again.
REBURNED = ("overlap", "priority", "all_touched")
# Which pixels a zone has: those whose centre it holds, those that it touches, or all that it covers
# a part of, with the part.
PixelRule: TypeAlias = Literal["centre", "touched", "fraction"]
RULES = get_args(PixelRule)
# Products as the hash has them: those that are no longer made as they were have another name.
_MADE = {"cover": "cover, exact even-odd", "percent": "percent, exact even-odd"}
DTYPES = ("uint8", "uint16", "uint32", "float32")
# Chunks along one side of a batch; a spec has at most so many bytes.
MAX_BATCH, MAX_BYTES = 64, 2**24
_KINDS: dict[str, tuple[type, ...]] = {
    "chunks": (tuple,), "batch": (int,), "dtype": (str,), "overlap": (str,),
    "priority": (str, type(None)), "all_touched": (bool,), "min_pixels": (int,),
    "integrity": (str,), "key": (str,), "plan": (str,), "inputs": (str,), "rule": (int,),
    "product": (str,), "n_layers": (int,),
}  # fmt: skip


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
    overlap : {"last", "first", "error", "sets", "layers"}
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
    rule : int
        Number of the burn rule that the plan was made by. A spec of version 0.1 has none: rule 1.
    product : {"ids", "cover", "percent", "count"}
        What pixels are.
    n_layers : int
        With ``overlap="layers"``, how many the plan needs.
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
    rule: int = BURN_RULE
    product: str = "ids"
    n_layers: int = 0

    @property
    def array(self) -> str:
        """Name of the array."""
        return PRODUCTS[self.product][0]

    @property
    def has_sets(self) -> bool:
        """Pixels that several zones claim stand for the set of these zones."""
        return self.overlap == "sets"

    @property
    def has_layers(self) -> bool:
        """Every zone owns all that it claims, in one of several layers."""
        return self.overlap == "layers"

    @property
    def has_parts(self) -> bool:
        """Pixels are what zones cover of them."""
        return self.product in _MADE

    @property
    def own_rule(self) -> PixelRule:
        """Which pixels a zone claims in the array."""
        return "touched" if self.all_touched else "centre"

    def check_rule(self, location: object, rule: PixelRule) -> None:
        """Refuse a rule by which the plan cannot be burned.

        Raises
        ------
        OptionError, StoreError
        """
        if rule not in RULES:
            raise OptionError(f"pixels must be one of {', '.join(RULES)}, not {rule!r}")
        if self.rule < 2 and rule != self.own_rule:
            raise StoreError(
                f"{location} was planned by an older version, which kept only the edges that "
                f"pixels={self.own_rule!r} needs: build it again with the same zones"
            )
        if self.min_pixels and rule == "fraction":
            raise StoreError(
                f"{location} was built with min_pixels={self.min_pixels}, which gives a whole "
                "pixel to zones without a centre: build a store without it for their fractions"
            )

    def __post_init__(self) -> None:
        if max(self.grid.shape) > MAX_COORDINATES:
            raise GridError(
                f"a grid of {self.grid.height:,} x {self.grid.width:,} pixels is too long for a "
                f"store: an axis has at most {MAX_COORDINATES:,} coordinates, which are written as "
                "one chunk; take larger pixels, or several stores"
            )
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if type(value) not in kinds:
                wanted = " or ".join(kind.__name__ for kind in kinds).replace("NoneType", "None")
                raise StoreError(f"{name} must be {wanted}, not {value!r:.100}")
        if self.dtype not in DTYPES:
            raise StoreError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r:.100}")
        if self.overlap not in OVERLAPS:
            said = f"{self.overlap!r:.100}"
            raise StoreError(f"overlap must be one of {', '.join(OVERLAPS)}, not {said}")
        self._check_product()
        if self.min_pixels not in {0, 1}:
            raise StoreError(f"min_pixels must be 0 or 1, not {self.min_pixels!r:.100}")
        if self.integrity not in {"receipt", "crc32c"}:
            said = f"{self.integrity!r:.100}"
            raise StoreError(f"integrity must be 'receipt' or 'crc32c', not {said}")
        if not 1 <= self.rule <= BURN_RULE:
            raise StoreError(
                f"burn rule {self.rule!r:.100} is not known, this zoneraster has rules 1 to "
                f"{BURN_RULE}: update zoneraster"
            )
        if not 1 <= self.batch <= MAX_BATCH:
            raise StoreError(f"batch must be 1 to {MAX_BATCH}, not {self.batch!r:.100}")
        # Refuses chunks that are too large.
        Chunking(self.grid.shape, self.chunks, self.batch)

    def _check_product(self) -> None:
        """Refuse a product that is none, and options that mean nothing for it."""
        if self.product not in PRODUCTS:
            said = f"{self.product!r:.100}"
            raise StoreError(f"product must be one of {', '.join(PRODUCTS)}, not {said}")
        if self.product == "ids":
            return
        idle = [] if self.overlap == "last" else [f"overlap={self.overlap!r}"]
        idle += [] if self.priority is None else [f"priority={self.priority!r}"]
        idle += ["min_pixels=1"] if self.min_pixels else []
        idle += ["all_touched=True"] if self.all_touched and self.product != "count" else []
        if idle:
            raise StoreError(
                f"{', '.join(idle)} means nothing for product={self.product!r}, in which every "
                "zone counts: leave it out"
            )

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
        said = [self.rule, grid, self.chunks, self.dtype, self.all_touched, self.integrity]
        # What decides who wins stands in the order of the records.
        said += [self.overlap] if self.has_sets or self.has_layers else []
        said += [_MADE.get(self.product, self.product)] if self.product != "ids" else []
        text = json.dumps(said, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def digest(self) -> str:
        """Hash of all of it, the plan's digest too: what workers must agree on."""
        return hashlib.blake2b(self.to_json(), digest_size=16).hexdigest()

    def to_json(self) -> bytes:
        """JSON text."""
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grid"}
        if self.product == "ids":
            del rest["product"]  # as ever
        if not self.n_layers:
            del rest["n_layers"]
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
        cure = "delete it and build again with the same zones and options, or build elsewhere"
        if len(data) > MAX_BYTES:
            raise StoreError(f"{where} has {len(data):,} bytes and cannot be a spec: {cure}")
        try:
            said: dict[str, Any] = json.loads(data)  # Any: JSON
        except (ValueError, RecursionError) as err:
            raise CorruptStoreError(f"{where} is no JSON ({err}): {cure}") from err
        with told_as(StoreError, f"{where} cannot be read", cure):
            version = said.pop("format_version")
            if version != FORMAT_VERSION:
                raise StoreError(
                    f"{where} has format version {version!r:.100}, this zoneraster reads "
                    f"{FORMAT_VERSION}: update zoneraster"
                )
            unknown = said.keys() - {f.name for f in fields(cls)}
            if unknown:
                raise StoreError(
                    f"{where} has {name_some(sorted(unknown))}, which this zoneraster does not "
                    "know: update zoneraster"
                )
            said["chunks"] = tuple(said["chunks"])
            said.setdefault("rule", 1)
            try:
                return cls(grid=Grid.from_dict(said.pop("grid")), **said)
            except ZonerasterError as err:
                raise StoreError(f"{where} cannot be read ({err}): {cure}") from err


def load_spec(location: Location, blobs: Blobs) -> Spec | None:
    """Spec of a store; None where there is no store.

    The one door to a store: whatever keeps it from being opened is told as an error of ours.

    Raises
    ------
    CorruptStoreError
        When the spec is torn, or was lost while the rest of a plan is there.
    StoreError
        When something else is there, or the place cannot be read.
    """
    where = f"{location}/{SPEC_KEY}"
    cure = "check the path, and the rights and credentials for it"
    with told_as(StoreError, f"{where} cannot be read", cure):
        try:
            data = blobs.get(SPEC_KEY)
        except NotADirectoryError:
            raise StoreError(
                f"{location} is a file, not the folder of a store: {_store_from(location.url)}"
            ) from None
        except FileNotFoundError:
            if has_plan(blobs):
                raise CorruptStoreError(
                    f"{where} is not there, though the rest of a plan is: planning has not ended, "
                    "or the file was lost; build again with the same zones and options"
                ) from None
            return None
    return Spec.from_json(data, where=where)


def _store_from(file: str) -> str:
    """What helps whoever gives a file where a store is wanted."""
    if is_polygons(file):
        return "it holds polygons, build a store of them first"
    if PurePosixPath(file).suffix.lower() in (".zip", ".tar", ".gz", ".7z"):
        return "where a store is packed in it, unpack it and give the folder"
    return "check the path, or build a store first"


def has_plan(blobs: Blobs) -> bool:
    """Any object of a plan is there, so that the place is ours."""
    return any(blobs.has(key) for key in (MANIFEST_KEY, INDEX_KEY, PLAN_KEY, SPEC_KEY))


def require_spec(location: Location, blobs: Blobs) -> Spec:
    """Spec of a store that must be there.

    Raises
    ------
    StoreError
        When there is no zoneraster store; `StoreBusyError` while its first plan is being made.
    """
    spec = load_spec(location, blobs)
    if spec is None:
        holder = holder_of(location, PLANNING)
        if holder is not None:
            raise StoreBusyError(f"{location} is just being planned ({holder}): wait for that")
        raise StoreError(f"no zone store at {location}: build it first")
    return spec


def check_same(old: Spec, new: Spec, *, where: str) -> None:
    """Refuse to go on with another grid, dtype or option that holds of the whole store.

    By another order of painting or rule its chunks are burned again, and by the newest burn rule.
    What sets stand for, and that nothing overlaps, is told of all pixels or of none.

    Raises
    ------
    StoreMismatchError
        With a table of the differences.
    """
    may_change = {"batch", "plan", "inputs", "rule", "n_layers", *REBURNED}
    if new.overlap == "error" or old.has_sets != new.has_sets:
        may_change.remove("overlap")
    names = [f.name for f in fields(Spec) if f.name not in may_change]
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
