"""What three users came for, from files to the answer, against plain NumPy and exactextract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import xarray as xr

import zoneraster as zr

# ---- districts by year of loss and tree cover ----------------------------------------------------

GRID = zr.Grid.from_bounds((10, 0, 10.2, 0.2), 0.00025)  # 800 x 800 pixels
CHUNK = 200
YEARS = {n: str(2000 + n) for n in range(1, 41)}
COVERS = [10, 30, 50, 75]


def districts(seed: int = 5) -> geopandas.GeoDataFrame:
    points = shapely.MultiPoint(np.random.default_rng(seed).uniform(0, 0.2, (40, 2)) + [10, 0])
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(10, 0, 11, 1)))
    cells = shapely.intersection(cells, shapely.box(10, 0, 10.2, 0.2))
    names = [f"district {i}" for i in range(len(cells))]
    return geopandas.GeoDataFrame({"district": names}, geometry=cells, crs=4326)


def write_zarr(path: Path, values: npt.NDArray[Any]) -> None:
    coords = {"lat": GRID.y_centres(), "lon": GRID.x_centres()}
    array = xr.DataArray(values, coords, ("lat", "lon"), name=path.stem)
    array.to_dataset().chunk(CHUNK).to_zarr(path, zarr_format=2, consolidated=True)


def by_hand(
    zones: geopandas.GeoDataFrame, loss: npt.NDArray[Any], cover: npt.NDArray[Any]
) -> dict[tuple[str, str, int], tuple[int, float]]:
    """Pixels and hectares of each district, year and threshold."""
    ids = rasterio.features.rasterize(
        zip(zones.geometry, range(1, len(zones) + 1), strict=True),
        out_shape=GRID.shape, transform=GRID.transform, dtype="int32",
    )  # fmt: skip
    geod, step = pyproj.Geod(ellps="WGS84"), 0.00025
    rows = []
    for y in GRID.y_centres():
        south, north = y - step / 2, y + step / 2
        ring = ([0, step, step, 0], [south, south, north, north])
        rows.append(geod.polygon_area_perimeter(*ring)[0])
    area = np.broadcast_to(np.array(rows)[:, None], GRID.shape)
    found = {}
    for number, name in enumerate(zones["district"], start=1):
        for year in np.unique(loss[(ids == number) & (loss > 0)]):
            for least in COVERS:
                of_group = (ids == number) & (loss == year) & (cover >= least)
                if of_group.any():
                    key = (name, YEARS[int(year)], least)
                    found[key] = int(of_group.sum()), float(area[of_group].sum()) / 1e4
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::zoneraster.ZonerasterWarning")
def test_districts_by_loss_year_and_cover_then_the_next_year_then_new_boundaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    patches = np.kron(rng.integers(0, 60, (50, 50)), np.ones((16, 16), int))
    loss = np.where(patches <= 23, patches, 0).astype("uint8")
    cover = rng.integers(0, 101, GRID.shape).astype("uint8")
    write_zarr(Path("lossyear.zarr"), loss)
    write_zarr(Path("treecover.zarr"), cover)
    zones = districts()
    zr.build(zones, "districts.zarr", grid=GRID, key="district", chunks=CHUNK)
    kept: list[float] = []

    def table(**options: Any) -> pd.DataFrame:
        """The job, which is the same each time; what share of it was kept is noted."""
        told: list[float] = []
        raster = zr.Raster("lossyear.zarr")
        found = zr.zonal_stats(
            "districts.zarr",
            by={
                "year": zr.labels(raster, YEARS, unlisted="unlisted"),
                "cover": zr.thresholds("treecover.zarr", COVERS),
            },
            where=raster >= 1,
            stats=["pixels", "area"],
            area="ha",
            progress=lambda phase, done, total: told.append(done / total * (phase == "stats")),
            **options,
        )
        kept.append(max(told[:2]))
        return found

    def check(found: pd.DataFrame) -> None:
        expected = by_hand(zones, loss, cover)
        assert found["pixels"].to_dict() == {key: n for key, (n, _) in expected.items()}
        assert found["area_ha"].to_dict() == pytest.approx(
            {key: hectares for key, (_, hectares) in expected.items()}, rel=1e-6
        )
        pd.testing.assert_frame_equal(found, table(), check_exact=True)
        kept.pop()

    check(table(checkpoint="partials"))
    # The next year: some loss in two chunks of sixteen.
    with_loss = np.s_[:CHUNK, : 2 * CHUNK]
    is_lost = (loss[with_loss] == 0) & (cover[with_loss] > 60)
    loss[with_loss] = np.where(is_lost, 24, loss[with_loss])
    xr.Dataset({"lossyear": (("lat", "lon"), loss[with_loss])}).to_zarr(
        "lossyear.zarr", region={"lat": slice(0, CHUNK), "lon": slice(0, 2 * CHUNK)}
    )
    found = table(checkpoint="partials")
    check(found)
    assert "2024" in found.index.get_level_values("year")
    # New boundaries: two neighbours in the south-east are one.
    corner = shapely.distance(zones.geometry, shapely.Point(10.2, 0)).argsort()[:2]
    one = zones.geometry[corner].union_all()
    zones = zones.drop(index=corner[1])
    zones.loc[corner[0], "geometry"] = one
    report = zr.build(zones, "districts.zarr", key="district")
    assert [*report.gone] == [districts()["district"][corner[1]]]
    check(table(checkpoint="partials"))
    assert kept[:2] == [0, 14 / 16]
    assert 0.5 < kept[2] < 1


# ---- 5,000 plots ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_5000_plots_are_joined_back_in_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exactextract = pytest.importorskip("exactextract")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    corner, side = rng.uniform(0, 29_900, (5000, 2)), rng.uniform(5, 90, (5000, 2))
    shapes = shapely.box(*(corner + [500_000, 0]).T, *(corner + side + [500_000, 0]).T)
    made = geopandas.GeoDataFrame(
        {"plot": [f"p{i}" for i in rng.permutation(5000)], "crop": "maize"},
        geometry=shapes, crs=32636,
    )  # fmt: skip
    made.to_file("plots.gpkg")
    values = rng.integers(0, 250, (1000, 1000)).astype("float32")
    with rasterio.open(
        "yield.tif", "w", driver="GTiff", height=1000, width=1000, count=1, dtype="float32",
        crs=32636, transform=rasterio.Affine(30, 0, 500_000, 0, -30, 30_000), nodata=7,
    ) as file:  # fmt: skip
        file.write(values, 1)

    plots = geopandas.read_file("plots.gpkg")
    found = zr.zonal_stats(plots, "yield.tif", stats=["count", "mean"], pixels="fraction")
    plots = plots.join(found)

    assert [*plots.columns] == ["plot", "crop", "geometry", "count", "mean"]
    assert isinstance(plots, geopandas.GeoDataFrame)
    wanted = exactextract.exact_extract(
        "yield.tif", made, ["count", "mean"], include_cols="plot", output="pandas"
    )
    assert plots["plot"].tolist() == wanted["plot"].tolist()
    # Its covered parts are float32.
    np.testing.assert_allclose(plots["count"], wanted["count"], rtol=1e-5)
    np.testing.assert_allclose(plots["mean"], wanted["mean"], rtol=1e-4)


# ---- countries by month --------------------------------------------------------------------------


@pytest.fixture
def cube() -> xr.DataArray:
    """Two years of months on a globe of 2 degrees, with longitudes from 0 to 360."""
    rng = np.random.default_rng(1)
    return xr.DataArray(
        rng.normal(280, 15, (24, 90, 180)).astype("float32"),
        coords={
            "time": pd.date_range("2023-01-01", periods=24, freq="MS"),
            "latitude": np.arange(89.0, -90, -2),
            "longitude": np.arange(1.0, 360, 2),
        },
        dims=("time", "latitude", "longitude"),
        name="t2m",
        attrs={"units": "K"},
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_countries_by_month_of_a_cube_of_0_to_360_come_as_xarray(
    cube: xr.DataArray, tmp_path: Path, *, lazy: bool
) -> None:
    bounds = {
        "on both sides of 0": (-9.5, 36.2, 19.3, 51.7),
        "west": (-125.3, 25.1, -67.2, 49.4),
        "east": (73.9, 18.4, 134.6, 53.3),
        "small": (14.4, 35.7, 14.6, 36.3),
    }
    countries = geopandas.GeoDataFrame(
        {"country": [*bounds, "over 180"]},
        geometry=[
            *(shapely.box(*box) for box in bounds.values()),
            shapely.union(
                shapely.box(165.2, -47.3, 180, -30), shapely.box(-180, -47.3, -175.5, -30)
            ),
        ],
        crs=4326,
    )
    given = cube
    if lazy:
        cube.to_dataset().to_zarr(tmp_path / "era5.zarr", consolidated=False)
        given = xr.open_zarr(tmp_path / "era5.zarr", consolidated=False)["t2m"]
    found = given.zones.stats(countries, key="country", stats=["count", "mean"]).to_xarray()

    assert found["mean"].dims == ("country", "time")
    assert found["mean"].attrs["units"] == "K"
    assert found.indexes["time"].equals(cube.indexes["time"])
    east = (cube.longitude.values + 180) % 360 - 180
    x, y = np.meshgrid(east, cube.latitude.values)
    for name, shape in zip(countries["country"], countries.geometry, strict=True):
        inside = shapely.contains_xy(shape, x, y)
        assert (found["count"].sel(country=name) == inside.sum()).all()
        wanted = cube.values[:, inside].astype("float64").mean(axis=1) if inside.any() else np.nan
        np.testing.assert_allclose(found["mean"].sel(country=name), wanted, rtol=1e-12)
