"""Partials as they lie on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq

import zoneraster as zr
from tests.conftest import ROOT
from tests.stats.samples import CLASSES, VALUES, build, raster

LARGEST = zr.Stat(
    "largest",
    init=lambda: (0,),
    update=lambda state, values, areas: (max(state[0], *values),),
    combine=lambda one, other: (max(one[0], other[0]),),
    finalize=lambda state: float(state[0]),
)


def test_the_reference_lists_the_columns_of_partials(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "store.md").read_text()
    table = page[page.index("One row per group and lane") : page.index("zoneraster:partial")]
    names = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    said = {name for row in names for name in re.findall(r"`([\w.]+)`", row)}
    store, found = build(tmp_path / "zones.zarr"), set()
    for stats in (["mean", "min", "var", "area_mean", "pixel_area", "median"], "majority", LARGEST):
        zr.zonal_stats(
            store,
            raster(VALUES),
            stats=stats,
            by={"class": raster(CLASSES)},
            checkpoint=tmp_path / "kept",
        )
    for stats in ("median", "weighted_mean", "weighted_frac"):
        zr.zonal_stats(
            store,
            raster(VALUES),
            stats=stats,
            weights=raster(VALUES) if stats != "median" else None,
            pixels="fraction",
            checkpoint=tmp_path / "kept",
        )
    for path in (tmp_path / "kept").rglob("*.parquet"):
        found |= set(pq.read_schema(path).names)
    assert found == said
