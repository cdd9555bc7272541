"""Layers: which zones share none of their pixels, and so can stand in one plane whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zoneraster._build.results import LAYERS_SAID
from zoneraster._burn import colour_zones
from zoneraster._store import Spec, find_zone_table, layers_of
from zoneraster.arrays import Ints
from zoneraster.blobs import Blobs
from zoneraster.errors import CorruptStoreError


@dataclass(frozen=True, slots=True, eq=False)
class Layering:
    """Zones in layers.

    Parameters
    ----------
    layer : (n_zones,) int64
        Of each zone, from 0.
    paint_rank : (n_zones,) int64
        Order of the records of a chunk: by layer, and by id within, which decides no pixel.
    contested : (n_zones,) int64
        Pixels of each zone that others claim too.
    deepest : int
        Most zones that claim one pixel: so many layers are needed at least.
    shared : int
        How many more pixels all zones have together than there are in zones.
    """

    layer: Ints
    paint_rank: Ints
    contested: Ints
    deepest: int
    shared: int

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return int(self.layer.max(initial=0)) + 1


def give_layers(sets: Mapping[bytes, int], zone_id: Ints, known: Ints) -> Layering:
    """Layers for zones, those that they had where that is possible.

    They depend on the zones, their ids and the layers before alone: not on the order of zones, the
    chunks or the workers.

    Parameters
    ----------
    sets : mapping
        Zones that share pixels, as `keys_of_sets` makes them, and how many pixels.
    zone_id : (n_zones,) int64
    known : (n_zones,) int64
        Layers of before; -1 for none.
    """
    pixels = np.fromiter(sets.values(), np.int64, len(sets))
    sizes = np.fromiter((len(own) // 4 for own in sets), np.int64, len(sets))
    by_id = np.argsort(zone_id)
    ids = np.frombuffer(b"".join(sets), "<u4")
    members = by_id[np.searchsorted(zone_id[by_id], ids)]
    set_ptr = np.concatenate([[0], np.cumsum(sizes)])
    of_member = np.repeat(np.arange(sizes.size), sizes)
    zone_ptr = np.concatenate([[0], np.cumsum(np.bincount(members, minlength=zone_id.size))])
    graph = (set_ptr, members, zone_ptr, of_member[np.argsort(members, kind="stable")])
    layer = colour_zones(*graph, zone_id, known)
    paint_rank, contested = np.empty_like(layer), np.zeros_like(layer)
    paint_rank[np.lexsort((zone_id, layer))] = np.arange(layer.size)
    np.add.at(contested, members, pixels[of_member])
    shared = int((pixels * (sizes - 1)).sum())
    return Layering(layer, paint_rank, contested, int(sizes.max(initial=1)), shared)


def layers_said(layering: Layering | None) -> dict[str, Any]:  # Any: of some of the fields
    """Fields of `PlanSummary` that are about layers: zeros where there are none."""
    return {name: 0 if layering is None else int(getattr(layering, name)) for name in LAYERS_SAID}


def known_layers(blobs: Blobs, old: Spec | None, zone_id: Ints) -> Ints:
    """Layers that zones have in a store, (n_zones,) int64; -1 where they have none."""
    unknown = np.full(zone_id.size, -1, np.int64)
    if old is None or not old.has_layers:
        return unknown
    try:
        _, data = find_zone_table(blobs, old)
        table = None if data is None else pq.read_table(pa.BufferReader(data))
        return unknown if table is None else layers_of(table, zone_id)
    except (CorruptStoreError, pa.ArrowException, OSError):
        return unknown
