"""The demo: all counties of the United States at 1 arc-second (30 m), their areas and climate."""

from __future__ import annotations

import contextlib
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
_COUNTIES_BY = "US Census Bureau, cartographic boundaries 2023, 1:5,000,000"
_CLIMATES_BY = "Beck et al., main classes of Köppen and Geiger, CC BY 4.0, 30 arc-seconds"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves behind.

    Parameters
    ----------
    report : BuildReport
    table : pandas.DataFrame
        Per county: its name and state, pixels, area in the raster, geodesic area of its polygon,
        difference in percent; each climate class in percent of its classified area, and the class
        that has most of it.
    store, csv : Path
    picture, climate_picture : Path, optional
        Maps of the counties and of their climates.
    """

    report: BuildReport
    table: pd.DataFrame
    store: Path
    csv: Path
    picture: Path | None
    climate_picture: Path | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        total = self.table[["pixels", "area_km2", "geodesic_km2"]].sum()
        return {
            "report": self.report.to_dict(),
            "total": {name: float(value) for name, value in total.items()},
            "store": str(self.store),
            "csv": str(self.csv),
            "picture": str(self.picture) if self.picture else None,
            "climate_picture": str(self.climate_picture) if self.climate_picture else None,
        }

    def __str__(self) -> str:
        table = self.table
        total = table[["pixels", "area_km2", "geodesic_km2"]].sum()
        share = 100 * (total["area_km2"] / total["geodesic_km2"] - 1)
        drawn = [one for one in (self.picture, self.climate_picture) if one is not None]
        lines = [
            str(self.report),
            "",
            f"the {_ROWS} largest of {len(table):,} counties",
            *_table_lines(table.sort_values("area_km2", ascending=False).head(_ROWS)),
            f"all counties: {total['pixels']:,.0f} pixels, {total['area_km2']:,.1f} km2",
            f"geodesic area of their polygons: {total['geodesic_km2']:,.1f} km2 ({share:+.5f} %)",
            *_climate_lines(table),
            "",
            f"store    {self.store}",
            f"table    {self.csv}",
            *(f"picture  {one}" for one in drawn),
            *([] if drawn else ["picture  not drawn: needs zoneraster[plot]"]),
        ]
        return "\n".join(lines)


def _table_lines(counties: pd.DataFrame) -> list[str]:
    """Counties as lines of less than 80 letters, with units above the numbers."""
    has_climate = "climate" in counties
    line = "{:<27} {:>12}{:>9}{:>14}  {}"
    lines = [
        line.format("county, state", "pixels", "area", "difference", "climate" * has_climate),
        line.format("", "", "km2", "% of polygon", "% of area" * has_climate),
    ]
    for _, row in counties.iterrows():
        known = has_climate and isinstance(row["climate"], str)
        climate = f"{row['climate']} {row[_share_of(row['climate'])]:.0f}" if known else ""
        numbers = (f"{row['pixels']:,}", f"{row['area_km2']:,.0f}")
        difference = f"{row['difference_percent']:+.4f}"
        lines.append(line.format(_county_text(row), *numbers, difference, climate).rstrip())
    return lines


def _county_text(row: pd.Series[Any]) -> str:  # Any: numbers and names
    """Name and state in 27 letters; a long name is cut."""
    text, state = str(row["name"]), str(row["state"])
    room = 27 - len(state) - 2
    return f"{text if len(text) <= room else text[: room - 1] + '…'}, {state}"


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
        Indexed by zone_id: name, state, pixels, area_km2, geodesic_km2, difference_percent.
    """
    zones = zr.zones(store)
    geod = zones.crs.get_geod()
    geodesic = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in zones.geometry]
    table = zones[["zone_id", "name", "state"]].copy()
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
        Indexed by zone_id: `tropical_percent` and so on, NaN where nothing is classified, and
        `climate`, the class with most of the area.
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
    shares = 100 * table.div(table.sum(axis=1).replace(0.0, float("nan")), axis=0)
    most = shares.dropna().idxmax(axis=1)
    found: pd.DataFrame = shares.rename(columns=_share_of).assign(climate=most)
    return found


def _share_of(climate: str) -> str:
    """The column with the share of a class."""
    return f"{climate}_percent"


def _climate_lines(table: pd.DataFrame) -> list[str]:
    """Climate of all counties together, weighted by area."""
    if "climate" not in table:
        return ["climate of the counties: not read, needs zoneraster[raster]"]
    known = table.dropna(subset="climate")
    area = known["area_km2"]
    shares = [(known[_share_of(name)] * area).sum() / area.sum() for name in CLIMATES.values()]
    said = [f"{share:.1f} % {name}" for share, name in zip(shares, CLIMATES.values(), strict=True)]
    return [f"climate: {', '.join(said)}"]


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
    store, csv = folder / "counties.zarr", folder / "counties.csv"
    grid = Grid.from_bounds(BOUNDS, resolution, "EPSG:4269")
    report = zr.build(
        counties_path(),
        store,
        grid=grid,
        key="zone_id",
        chunks=CHUNKS,
        workers=workers,
        progress=progress,
    )
    table = area_table(store)
    with contextlib.suppress(ImportError):  # rasterio is optional, and the text says so
        table = table.join(climate_table(store, workers=workers, progress=progress))
    table.to_csv(csv)
    drawn = _draw(store, table, folder)
    return DemoResult(report, table, store, csv, *drawn)


def _draw(store: Path, table: pd.DataFrame, folder: Path) -> tuple[Path | None, Path | None]:
    """Maps of the counties, and of their climates where these are known."""
    how: dict[str, Any] = {"bounds": PICTURE_BOUNDS}
    counties, climates = folder / "counties.png", folder / "climate.png"
    try:
        zr.plot(
            store,
            picture=counties,
            title="Counties of the United States",
            source=f"{_COUNTIES_BY}. Drawn by zoneraster from its raster of 1 arc-second (30 m).",
            **how,
        )
    except ImportError:  # matplotlib is optional, and the text says so
        return None, None
    if "climate" not in table:
        return counties, None
    zr.plot(
        store,
        table,
        "climate",
        picture=climates,
        title="Climate that covers most of each county",
        source=f"Classes: {_CLIMATES_BY}. Counties: {_COUNTIES_BY}.",
        **how,
    )
    return counties, climates
