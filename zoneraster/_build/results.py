"""What the verbs return: plain records with a text form and a JSON form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from zoneraster._store import PLAN_KEY, REPORT_KEY
from zoneraster.blobs import Blobs, Location
from zoneraster.errors import NAMED, CorruptStoreError, name_some, number_of, told_as
from zoneraster.notebook import record_html


def _shallow(record: Any) -> dict[str, Any]:  # Any: one of the records below
    """Fields of a record; unlike `dataclasses.asdict` it does not copy a million keys."""
    return {f.name: getattr(record, f.name) for f in fields(record)}


# Fields about layers, which reports of other stores do not keep.
LAYERS_SAID = ("n_layers", "deepest", "shared")


def _depth(deepest: int) -> str:
    """Why layers are not fewer, where they cannot be."""
    return f"for at most {number_of(deepest, 'zone')} on a pixel"


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a plan holds.

    Parameters
    ----------
    store : str
    plan : str
        Digest.
    n_zones, n_chunks, n_batches : int
        Zones of the table, chunks that a zone touches, batches that hold such chunks.
    grid_chunks : int
        Chunks of the whole grid.
    work : int
        Crossings plus a constant for each chunk: what progress is measured in.
    reused : bool
        The store held this very plan already.
    skipped : tuple of (row, key, reason)
    invalid, repaired, outside, rescued : tuple of keys
        Zones with self-intersecting rings (burned even-odd), such whose rings were rebuilt, zones
        off the grid, zones that got the pixel under their representative point.
    wide : tuple of keys
        Zones with a part that spans more than 180 degrees of their own reference system.
    notes : tuple of str
        Sentences on what was guessed, assumed or left out as the zones were read.
    cut : tuple of keys
        Zones that went beyond a pole or 180 degrees by less than 1e-4 degree, and were cut there.
    partly : tuple of (key, str)
        Zones on the grid that reach beyond it, and on which sides: "west, north".
    operation : str
        How PROJ brought the zones to the reference system of the grid, and how exactly; empty where
        they had it.
    n_layers, deepest, shared : int
        With ``overlap="layers"``, how many there are, most zones that claim one pixel, which need
        so many at least, and how many more pixels all zones have together than there are in zones.
    """

    store: str
    plan: str
    n_zones: int
    n_chunks: int
    n_batches: int
    grid_chunks: int
    work: int
    reused: bool = False
    skipped: tuple[tuple[int, Any, str], ...] = ()  # Any: keys are the user's
    invalid: tuple[Any, ...] = ()
    repaired: tuple[Any, ...] = ()
    outside: tuple[Any, ...] = ()
    rescued: tuple[Any, ...] = ()
    wide: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()
    cut: tuple[Any, ...] = ()
    partly: tuple[tuple[Any, str], ...] = ()
    operation: str = ""
    n_layers: int = 0
    deepest: int = 0
    shared: int = 0

    def warnings(self, *, grid: str = "the grid") -> list[str]:
        """Sentences about zones that deserve a look; what the `grid` is called in them."""
        said = [*self.notes]
        if self.skipped:
            rows = [f"row {row} (key {key!r}): {reason}" for row, key, reason in self.skipped]
            said.append(f"{number_of(len(rows), 'row')} skipped: {name_some(rows)}")
        if self.invalid:
            said.append(
                f"{number_of(len(self.invalid), 'zone')} with rings that cross themselves, burned "
                f"by the even-odd rule: {name_some(self.invalid)}"
            )
        if self.repaired:
            said.append(
                f"{number_of(len(self.repaired), 'zone')} with rings that crossed themselves, "
                f"repaired: {name_some(self.repaired)}"
            )
        if self.outside:
            said.append(
                f"{number_of(len(self.outside), 'zone')} outside {grid}: {name_some(self.outside)}"
            )
        if self.partly:
            named = [f"{key} ({sides})" for key, sides in self.partly[: NAMED + 1]]
            said.append(
                f"{number_of(len(self.partly), 'zone')} partly outside {grid}, of which only "
                f"what is inside counts: {name_some(named, len(self.partly))}"
            )
        if self.wide:
            said.append(
                f"{number_of(len(self.wide), 'zone')} with a part that spans more than 180 "
                f"degrees and may cross the antimeridian unsplit: {name_some(self.wide)}"
            )
        if self.cut:
            said.append(
                f"{number_of(len(self.cut), 'zone')} beyond a pole or 180 degrees by less than "
                f"0.0001 degree, cut there: {name_some(self.cut)}"
            )
        if self.rescued:
            said.append(
                f"{number_of(len(self.rescued), 'zone')} without a pixel centre got the pixel "
                f"under the representative point: {name_some(self.rescued)}"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**_shallow(self), "warnings": self.warnings()}

    def __str__(self) -> str:
        lines = [
            f"plan {self.plan} of {self.store}",
            f"  zones    {self.n_zones:>15,}",
            f"  chunks   {self.n_chunks:>15,} of {self.grid_chunks:,}",
            f"  batches  {self.n_batches:>15,}",
            f"  work     {self.work:>15,} crossings",
        ]
        if self.n_layers:
            lines.append(f"  layers   {self.n_layers:>15,}, {_depth(self.deepest)}")
        if self.operation:
            lines.append(f"  from     {self.operation}")
        return "\n".join(lines + [f"  ! {text}" for text in self.warnings()])


def summary_bytes(summary: PlanSummary) -> bytes:
    """What is kept of what is said of a plan; not its place, since a store can be moved."""
    said = {**_shallow(summary), "store": ""}
    if not summary.n_layers:
        for name in LAYERS_SAID:
            del said[name]
    return json.dumps(said, indent=1, default=str).encode()


def load_summary(location: Location, blobs: Blobs) -> PlanSummary:
    """What `make_plan` said about the plan of a store.

    Raises
    ------
    CorruptStoreError
        When it cannot be read.
    """
    where = f"{location}/{PLAN_KEY}"
    with told_as(CorruptStoreError, f"{where} cannot be read", "build again with the same zones"):
        said = json.loads(blobs.get(PLAN_KEY))
        said["skipped"] = tuple((row, key, reason) for row, key, reason in said["skipped"])
        said["partly"] = tuple((key, sides) for key, sides in said.get("partly", ()))
        lists = ("invalid", "repaired", "outside", "rescued", "wide", "notes", "cut")
        tuples = {name: tuple(said.get(name, ())) for name in lists}
        summary = PlanSummary(**{**said, **tuples, "store": str(location)})
        counts = ("n_zones", "n_chunks", "n_batches", "grid_chunks", "work", *LAYERS_SAID)
        if not all(type(getattr(summary, name)) is int for name in counts):
            raise TypeError("a count that is no whole number")
        return summary


def remarkable_zones(location: Location) -> dict[str, Any]:
    """Zones of a store that lie beyond its grid, or cross themselves, for an audit.

    Returns
    -------
    dict
        `zones_outside`, how many, and `zones_partly_outside`, keys and sides; where there are some,
        `zones_crossing_themselves`, keys of those that are even-odd. Empty for zones that no plan
        of ours knows.
    """
    blobs = location.blobs()
    if not blobs.has(PLAN_KEY):
        return {}
    summary = load_summary(location, blobs)
    partly = [list(one) for one in summary.partly]
    found = {"zones_outside": len(summary.outside), "zones_partly_outside": partly}
    if summary.invalid:
        found["zones_crossing_themselves"] = list(summary.invalid)
    return found


def reported_plan(blobs: Blobs) -> str:
    """Digest of the plan that the last finished build reported; empty where none can be read."""
    try:
        return str(json.loads(blobs.get(REPORT_KEY))["plan"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return ""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Parameters
    ----------
    burned, kept : int
        Chunks burned by this run, and chunks found done.
    nbytes : int
        Bytes written.
    seconds : float
    """

    burned: int = 0
    kept: int = 0
    nbytes: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return _shallow(self)

    def __str__(self) -> str:
        return (
            f"{self.burned:,} chunks burned, {self.kept:,} kept, {self.nbytes:,} bytes "
            f"in {self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a finished store holds and what the last build did.

    Parameters
    ----------
    store, dtype : str
    shape : (int, int)
        Rows and columns of the grid.
    n_zones : int
    chunks, grid_chunks : int
        Chunks stored; chunks of the grid.
    nbytes : int
        Stored bytes of all chunks.
    claimed, owned, contested : int
        Pixels, summed over zones.
    zero_pixel_zones : tuple of keys
        Zones that own no pixel.
    contested_zones : tuple of keys
        Zones that share pixels with others.
    burned, kept, deleted : int
        Chunks burned, found done and deleted by this build.
    seconds : float
    warnings : tuple of str
    operation : str
        How zones were brought to the reference system of the grid, see `PlanSummary`.
    new, gone, changed : tuple of keys
        Zones that an update has brought, has taken away, and whose polygons are others than those
        of the last finished build.
    n_sets, together : int
        With ``overlap="sets"``, sets of zones that share pixels, and these pixels.
    n_layers, deepest : int
        With ``overlap="layers"``, how many there are, and most zones that claim one pixel.
    """

    store: str
    dtype: str
    shape: tuple[int, int]
    n_zones: int
    chunks: int
    grid_chunks: int
    nbytes: int
    claimed: int
    owned: int
    contested: int
    zero_pixel_zones: tuple[Any, ...] = ()
    contested_zones: tuple[Any, ...] = ()
    burned: int = 0
    kept: int = 0
    deleted: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    operation: str = ""
    new: tuple[Any, ...] = ()
    gone: tuple[Any, ...] = ()
    changed: tuple[Any, ...] = ()
    n_sets: int = 0
    together: int = 0
    n_layers: int = 0
    deepest: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return _shallow(self)

    def __str__(self) -> str:
        rows, cols = self.shape
        lines = [
            f"{self.store}: {self.n_zones:,} zones on {cols:,} x {rows:,} pixels ({self.dtype})",
            f"  chunks     {self.chunks:>18,} of {self.grid_chunks:,}, {self.nbytes:,} bytes",
            f"  this build {self.burned:>18,} burned, {self.kept:,} kept, {self.deleted:,} deleted",
            f"  claimed    {self.claimed:>18,} pixels",
            f"  owned      {self.owned:>18,} pixels",
            f"  contested  {self.contested:>18,} pixels in {len(self.contested_zones):,} zones",
            f"  time       {self.seconds:>18,.1f} s",
        ]
        named = {"new": self.new, "gone": self.gone, "changed": self.changed}
        lines[1:1] = [
            f"  {what:<10} {len(keys):>18,} zone{'s' * (len(keys) != 1)}: {name_some(keys)}"
            for what, keys in named.items()
            if keys
        ]
        if self.n_sets:
            lines.insert(-1, f"  together   {self.together:>18,} pixels of {self.n_sets:,} sets")
        if self.n_layers:
            lines.insert(-1, f"  layers     {self.n_layers:>18,}, {_depth(self.deepest)}")
        if self.operation:
            lines.append(f"  from       {self.operation}")
        return "\n".join(lines + [f"  ! {text}" for text in self.warnings])

    def _repr_html_(self) -> str:
        counts = {
            name: value
            for name, value in self.to_dict().items()
            if isinstance(value, int | float) or name in ("dtype", "shape")
        }
        return record_html(self.store, counts, self.warnings)


@dataclass(frozen=True, slots=True)
class Status:
    """How far a build is.

    Parameters
    ----------
    store : str
    batches_done, batches, chunks_done, chunks : int
    work_done, work : int
        In crossings, see `PlanSummary`.
    finished : bool
        The zone table and report belong to this plan.
    missing : tuple of int
        Batches without a receipt.
    planning : bool
        Another process is planning this store right now; all else is about the plan before, and
        zeros where there is none.
    """

    store: str
    batches_done: int
    batches: int
    chunks_done: int
    chunks: int
    work_done: int
    work: int
    finished: bool
    missing: tuple[int, ...] = ()
    planning: bool = False

    @property
    def warning(self) -> str | None:
        """What whoever reads the store should know; None where all of it is finished."""
        done = f"{self.chunks_done:,} of {number_of(self.chunks, 'chunk')}"
        if self.planning:
            return f"{self.store} is being planned by another process: {done} done so far"
        if self.missing:
            return f"{self.store} is not finished: {done} done; build again, it goes on from there"
        if not self.finished:
            return (
                f"{self.store} is not finished: all of {number_of(self.chunks, 'chunk')} done, "
                "counts not added up; build again or finish it"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return _shallow(self)

    def __str__(self) -> str:
        share = self.work_done / self.work if self.work else 1.0
        state = "finished" if self.finished else f"{share:.1%} of the work done"
        if self.planning:
            state = "being planned" + (f", before that {state}" if self.batches else "")
        return (
            f"{self.store}: {state}\n"
            f"  batches {self.batches_done:,} of {self.batches:,}\n"
            f"  chunks  {self.chunks_done:,} of {self.chunks:,}"
        )


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found.

    Parameters
    ----------
    store : str
    checked, reburned : int
        Chunks whose bytes were compared with their receipt; chunks burned again and compared.
    missing, damaged, differing, stray, unreceipted : tuple of str
        Keys that are gone; whose bytes are not those of the receipt; that burn to other bytes; that
        no plan knows; that have no receipt yet.
    """

    store: str
    checked: int
    reburned: int = 0
    missing: tuple[str, ...] = field(default=())
    damaged: tuple[str, ...] = field(default=())
    differing: tuple[str, ...] = field(default=())
    stray: tuple[str, ...] = field(default=())
    unreceipted: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        found = (self.missing, self.damaged, self.differing, self.stray, self.unreceipted)
        return not any(found)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**_shallow(self), "ok": self.ok}

    def __str__(self) -> str:
        lines = [
            f"{self.store}: {self.checked:,} chunks checked, {self.reburned:,} burned again: "
            + ("all right" if self.ok else "NOT all right")
        ]
        for kind in ("missing", "damaged", "differing", "stray", "unreceipted"):
            keys = getattr(self, kind)
            if keys:
                lines.append(f"  {kind:<12} {len(keys):>8,}  {name_some(keys)}")
        if not self.ok:
            how = "" if Location.of(self.store).is_local else " and check=True"
            lines.append(
                f"  run the build again with the same zones{how}: it repairs exactly these"
            )
        return "\n".join(lines)
