"""The demo: all counties of the United States at 1 arc-second (30 m), their areas and climate."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoneraster as zr
from zoneraster._build import BuildReport
from zoneraster._grid import Grid
from zoneraster.executors import Progress

if TYPE_CHECKING:
    import pandas as pd

# The United States with Alaska, Hawaii and the territories, in whole degrees.
BOUNDS = (-180, -15, 180, 72)
# What the picture shows: the 48 states.
PICTURE_BOUNDS = (-125.0, 24.0, -66.5, 50.0)
# Main classes of the Koeppen-Geiger map.
CLIMATES: dict[float, str] = {1: "tropical", 2: "arid", 3: "temperate", 4: "cold", 5: "polar"}
# A chunk is one degree.
CHUNKS = 3600
_ROWS = 10


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves behind.

    Parameters
    ----------
    report : BuildReport
    table : pandas.DataFrame
        Per county: pixels, area in the raster, geodesic area of its polygon, difference in percent,
        and in percent of its classified area each climate class.
    store, csv, picture : Path
    """

    report: BuildReport
    table: pd.DataFrame
    store: Path
    csv: Path
    picture: Path | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        total = self.table[["pixels", "area_km2", "geodesic_km2"]].sum()
        return {
            "report": self.report.to_dict(),
            "total": {name: float(value) for name, value in total.items()},
            "store": str(self.store),
            "csv": str(self.csv),
            "picture": str(self.picture) if self.picture else None,
        }

    def __str__(self) -> str:
        table = self.table
        total = table[["pixels", "area_km2", "geodesic_km2"]].sum()
        share = 100 * (total["area_km2"] / total["geodesic_km2"] - 1)
        largest = table.sort_values("area_km2", ascending=False).head(_ROWS)
        climates = [name for name in CLIMATES.values() if name in table]
        text = largest.to_string(
            formatters={
                "pixels": "{:,}".format,
                "area_km2": "{:,.1f}".format,
                "geodesic_km2": "{:,.1f}".format,
                "difference_percent": "{:+.4f}".format,
                **dict.fromkeys(climates, "{:.1f}".format),
            }
        )
        lines = [
            str(self.report),
            "",
            f"the {_ROWS} largest of {len(table):,} counties",
            text,
            f"all counties: {total['pixels']:,.0f} pixels, {total['area_km2']:,.1f} km2",
            f"geodesic area of their polygons: {total['geodesic_km2']:,.1f} km2 ({share:+.5f} %)",
            f"climate of the counties: {_climate_text(table, climates)}",
            "",
            f"store    {self.store}",
            f"table    {self.csv}",
            f"picture  {self.picture or 'not drawn: needs matplotlib, zoneraster[plot]'}",
        ]
        return "\n".join(lines)


def counties_path() -> Path:
    """The county polygons that come with the package (US Census Bureau, public domain)."""
    return Path(str(resources.files("zoneraster") / "data" / "us_counties.parquet"))


def area_table(store: Path) -> pd.DataFrame:
    """Area of each zone in the raster against the geodesic area of its polygon.

    Parameters
    ----------
    store : Path

    Returns
    -------
    pandas.DataFrame
        Indexed by zone_id: name, pixels, area_km2, geodesic_km2, difference_percent.
    """
    zones = zr.zones(store)
    geod = zones.crs.get_geod()
    geodesic = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in zones.geometry]
    table = zones[["zone_id", "name"]].copy()
    table["pixels"] = zones["owned"]
    table["area_km2"] = zones["area_m2"] / 1e6
    table["geodesic_km2"] = geodesic
    table["difference_percent"] = 100 * (table["area_km2"] / table["geodesic_km2"] - 1)
    indexed: pd.DataFrame = table.set_index("zone_id")
    return indexed


def koppen_path() -> Path:
    """The climate classes that come with the package (Beck et al., CC BY 4.0)."""
    return Path(str(resources.files("zoneraster") / "data" / "koppen_us.tif"))


def climate_table(store: Path, *, workers: int | None, progress: Progress | None) -> pd.DataFrame:
    """Share of each climate class in the classified area of each zone.

    Parameters
    ----------
    store : Path
    workers : int, optional
    progress : callable, optional

    Returns
    -------
    pandas.DataFrame
        Indexed by zone_id, a column per class, percent; NaN where nothing is classified.
    """
    # WGS 84 and NAD 83 differ by about a metre, the classes are a kilometre wide.
    classes = zr.Raster(koppen_path(), crs="EPSG:4269")
    areas = zr.zonal_stats(
        store,
        stats=("pixels", "area"),
        by={"climate": zr.labels(classes, CLIMATES)},
        area="km2",
        workers=workers,
        progress=progress,
    )
    table = areas["area_km2"].unstack(fill_value=0).reindex(columns=list(CLIMATES.values()))
    shares: pd.DataFrame = 100 * table.div(table.sum(axis=1).replace(0.0, float("nan")), axis=0)
    return shares


def _climate_text(table: pd.DataFrame, climates: Sequence[str]) -> str:
    """Climate of all counties together, weighted by area."""
    if not climates:
        return "not read: needs rasterio, zoneraster[raster]"
    known = table.dropna(subset=climates)
    shares = [(known[c] * known["area_km2"]).sum() / known["area_km2"].sum() for c in climates]
    return ", ".join(f"{share:.1f} % {c}" for c, share in zip(climates, shares, strict=True))


def run_demo(
    folder: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    resolution: Fraction = Fraction(1, 3600),
) -> DemoResult:
    """Build the counties' store in a folder, compare areas, add up climates, draw a map.

    Parameters
    ----------
    folder : Path
        Made when absent. A demo that was interrupted there goes on.
    workers : int, optional
    progress : callable, optional
    resolution : Fraction
        Degrees; 1/3600 is 30 m.

    Returns
    -------
    DemoResult
    """
    folder.mkdir(parents=True, exist_ok=True)
    store, csv, picture = (folder / f"counties.{kind}" for kind in ("zarr", "csv", "png"))
    grid = Grid.from_bounds(BOUNDS, resolution, "EPSG:4269")
    report = zr.build(
        counties_path(), store, grid=grid, chunks=CHUNKS, workers=workers, progress=progress
    )
    table = area_table(store)
    with contextlib.suppress(ImportError):  # rasterio is optional, and the text says so
        table = table.join(climate_table(store, workers=workers, progress=progress))
    table.to_csv(csv)
    drawn: Path | None = picture
    try:
        from zoneraster.maps import draw_map  # noqa: PLC0415 - matplotlib is optional

        draw_map(
            store,
            picture,
            bounds=PICTURE_BOUNDS,
            title="US counties: zone ids of the 1 arc-second store",
        )
    except ImportError:  # as above
        drawn = None
    return DemoResult(report, table, store, csv, drawn)
