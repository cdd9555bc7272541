"""One call gives the table of a store, to the last bit, whatever zones, rasters and options are."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from geopandas.testing import assert_geodataframe_equal

import zoneraster as zr
from tests.stats.calls import (
    LATTICES,
    Maker,
    as_given,
    draw_call,
    draw_key,
    draw_shape,
    draw_stats,
    draw_where,
    draw_zones,
    one_of,
)
from zoneraster._stats.front import LabelZones

FAST, ALL = 12, 112
# The last two once differed in the last digit: rolled up, and no pixel is contested.
SEEDS = [
    *range(FAST),
    1055,
    1140,
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL)),
]
# What is rounded otherwise where chunks are other ones; of a pixel little may be covered.
NEARLY = {"rtol": 1e-9, "atol": 1e-9}


def outcome(function: Callable[[], pd.DataFrame]) -> pd.DataFrame | type[Exception]:
    """A table, or what was raised in place of it."""
    try:
        return function()
    except zr.ZonerasterError as err:
        return type(err)


def same(one: Any, other: Any, **nearly: Any) -> None:
    """Equal tables, bits, types and order, and all that is known of them; or equal errors."""
    if isinstance(one, type) or isinstance(other, type):
        assert one is other
        return
    how: dict[str, Any] = nearly or {"check_exact": True}
    for known in ("units", "attributes"):
        assert one.attrs[known] == other.attrs[known]
    if "geometry" in one and "geometry" in other:
        assert_geodataframe_equal(one[["geometry"]], other[["geometry"]])
        one, other = (pd.DataFrame(table.drop(columns="geometry")) for table in (one, other))
    pd.testing.assert_frame_equal(one, other, **how)


def audited(table: pd.DataFrame) -> dict[str, Any]:
    """Where pixels went, but for what a build alone knows: chunks without any, zones apart."""
    unknown = {"pixels_read", "no_zone", "zones"}
    return {name: said for name, said in table.attrs["audit"].items() if name not in unknown}


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_polygons_give_what_a_store_of_them_gives(seed: int, tmp_path: Path) -> None:
    call = draw_call(seed, tmp_path / "given")
    found = outcome(lambda: zr.zonal_stats(call.zones, call.values, **call.reading, **call.options))

    def stored(name: str, **how: Any) -> pd.DataFrame:
        place = tmp_path / name
        zr.build(call.zones, place, grid=call.grid(), **call.reading, **how)
        return zr.zonal_stats(place, call.values, executor="serial", **call.options)

    wanted = outcome(lambda: stored("zones.zarr"))
    same(found, wanted)
    if isinstance(found, pd.DataFrame):
        assert audited(found) == audited(wanted)
        same(found, outcome(lambda: stored("small.zarr", chunks=20 + seed % 41)), **NEARLY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zones", "values", "options"),
    [
        (
            "us_counties_2023",
            "koppen_simplified_30s",
            {"stats": ["count", "majority", "variety", "fractions", "area"]},
        ),
        (
            "swiss_municipalities_2025",
            "altitude_5min_pvlib",
            {"stats": ["count", "mean", "std", "median", "area_mean"], "pixels": "fraction"},
        ),
        ("swiss_municipalities_2025", "era5_t2m_mean_025deg", {"pixels": "touched"}),
    ],
)
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_real_zones_give_what_a_store_of_them_gives(
    data_dir: Path, tmp_path: Path, zones: str, values: str, options: dict[str, Any]
) -> None:
    """In the reference system of the zones or in another one."""
    given, raster = data_dir / f"{zones}.parquet", data_dir / "values" / f"{values}.tif"
    found = zr.zonal_stats(given, raster, key="zone_id", **options)
    zr.build(given, tmp_path / "zones.zarr", grid=raster, key="zone_id")
    same(found, zr.zonal_stats(tmp_path / "zones.zarr", raster, **options))
    assert found["count"].sum() > 100


def with_int64(table: pd.DataFrame) -> pd.DataFrame:
    """A table of labels with the type that keys have in a store."""
    index = table.index
    zones = (index.levels[0] if isinstance(index, pd.MultiIndex) else index).astype("int64")
    table.index = index.set_levels(zones, level=0) if index.nlevels > 1 else zones
    return table


@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_give_what_a_store_of_the_same_zones_gives(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(10_000 + seed)
    lattice, shape = one_of(rng, *LATTICES), draw_shape(rng)
    make = Maker(rng, lattice, tmp_path / "given", shape)
    size = int(one_of(rng, 1, 1, 2, 3))
    side = tuple(-(-n // size) for n in shape)
    grid = lattice.grid(Fraction(0), Fraction(0), Fraction(size), side)
    zones = draw_zones(rng, lattice, (0.0, 0.0, float(shape[1]), float(shape[0])))
    zones = zones.sort_values("code")
    zr.build(zones, tmp_path / "ids.zarr", grid=grid, key="code")
    ids = zr.open(tmp_path / "ids.zarr").zone.values
    present = np.unique(ids[ids > 0])
    labels, nodata = ids.astype(one_of(rng, "int16", "uint16", "int32", "uint32", "int64")), 0
    if rng.random() < 0.3:
        # Where another number is none, 0 is a label: no pixel has it here.
        labels, nodata = np.where(ids == 0, 30_000, labels).astype(labels.dtype), 30_000
    given = as_given(
        rng, labels, grid, nodata or one_of(rng, 0, None), tmp_path / "labels", is_whole=True
    )
    # The path of a Zarr is that of a store; what is a raster of labels is said to be one.
    given = given if isinstance(given, zr.Raster) else zr.Raster(given)
    values = make.layer("values", int(one_of(rng, 1, 1, size, 6)), lanes=2 * (rng.random() < 0.2))
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["by"] = {"key": draw_key(rng, make.layer("by", size, kind="classes"))}
    if rng.random() < 0.3:
        options["where"] = draw_where(rng, make.layer("where", size))
    if rng.random() < 0.3 and present.size:
        options["select"] = [int(one_of(rng, *present)), int(present[0])]
    weighted = bool(rng.random() < 0.3)
    if weighted:
        options["weights"] = make.layer("weights", size).given
    stats = draw_stats(rng, weights=weighted, classes=False, values=True, own=True)

    found = outcome(lambda: with_int64(zr.zonal_stats(given, values.given, stats=stats, **options)))
    chunks = LabelZones.of(given).chunks

    def stored() -> pd.DataFrame:
        zr.build(zones, tmp_path / "zones.zarr", grid=grid, key="code", chunks=chunks)
        table = zr.zonal_stats(
            tmp_path / "zones.zarr", values.given, stats=stats, zones="owned", **options
        )
        kept = table[table.index.get_level_values(0).isin(present)]
        return kept.rename_axis(index={"code": "zone_id"})

    same(found, outcome(stored))
