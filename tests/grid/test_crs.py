"""Reference systems: which are the same, and how they are called."""

from __future__ import annotations

import pytest
from pyproj import CRS
from pyproj.enums import WktVersion

from zoneraster._grid.crs import checked_crs, crs_names, has_wgs84_shape, same_crs
from zoneraster._grid.grid import Grid
from zoneraster.errors import GridError

WEB_MERCATOR = (
    "+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m "
    "+nadgrids=@null +wktext +no_defs"
)
MODIS = (
    'PROJCS["Sinusoidal",GEOGCS["GCS_Unknown datum based upon the custom spheroid",'
    'DATUM["Not specified (based on custom spheroid)",SPHEROID["Custom spheroid",6371007.181,0]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Sinusoidal"],'
    'PARAMETER["longitude_of_center",0],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["Meter",1]]'
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:4326", "OGC:CRS84"),
        ("EPSG:4326", "EPSG:4979"),  # with heights above the ellipsoid
        ("EPSG:4326", "EPSG:4326+3855"),  # and above the geoid
        ("EPSG:9518", "EPSG:4326+5773"),
        ("EPSG:27700", "EPSG:7405"),
        ("EPSG:4326", "+proj=longlat +ellps=GRS80"),
        ("EPSG:25832", "+proj=utm +zone=32 +ellps=GRS80"),
        ("EPSG:32661", "EPSG:5041"),  # north before east, and east before north
        ("EPSG:3857", WEB_MERCATOR),
        ("EPSG:3857", "ESRI:102100"),
        ("EPSG:3413", "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84"),
        ("+proj=sinu +R=6371007.181", MODIS),
    ],
)
def test_the_same_places_in_other_words_are_the_same_system(one: str, other: str) -> None:
    assert same_crs(CRS(one), CRS(other))
    assert same_crs(CRS(other), CRS(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("EPSG:4326", "EPSG:4269"),  # a metre or two apart
        ("EPSG:32632", "EPSG:25832"),
        ("EPSG:32632", "EPSG:32633"),
        ("EPSG:4326", "+proj=longlat +datum=WGS84 +pm=paris"),
        ("EPSG:4326", "+proj=longlat +R=6371229"),
        ("EPSG:4314", "+proj=longlat +ellps=bessel"),  # several datums have it, 500 m apart
        ("EPSG:2263", "EPSG:32118"),  # feet and metres
        ("EPSG:3857", "EPSG:3395"),
        ("EPSG:5513", "EPSG:5514"),  # south and west, and east and north
        ("EPSG:4326", "EPSG:4978"),
        ("EPSG:32632", "EPSG:4326"),
    ],
)
def test_other_places_are_another_system(one: str, other: str) -> None:
    assert not same_crs(CRS(one), CRS(other))
    assert not same_crs(CRS(other), CRS(one))


CODES = [
    2044,
    2193,
    2393,
    3067,
    3126,
    3347,
    3577,
    4266,
    4747,
    5048,
    6050,
    6933,
    26632,
    28992,
    31370,
]


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_a_code_is_the_same_in_every_spelling(code: int) -> None:
    rasterio_crs = pytest.importorskip("rasterio.crs").CRS
    crs = CRS.from_epsg(code)
    written = [
        rasterio_crs.from_epsg(code).to_wkt(),  # by another version of PROJ, maybe
        crs.to_wkt(WktVersion.WKT1_GDAL),
        crs.to_wkt(WktVersion.WKT1_ESRI),
        crs.to_wkt(),
        crs.to_json(),
    ]
    assert [same_crs(crs, CRS(text)) for text in written] == [True] * 5


def test_an_ellipsoid_without_a_datum_is_told_from_a_datum() -> None:
    assert has_wgs84_shape(CRS("+proj=longlat +ellps=GRS80"))
    assert not has_wgs84_shape(CRS("+proj=longlat +R=6371229"))
    assert not has_wgs84_shape(CRS("EPSG:4326"))


def test_names_of_two_systems_show_in_what_they_differ() -> None:
    assert crs_names(CRS(32632), CRS(4326)) == (
        "WGS 84 / UTM zone 32N (EPSG:32632)",
        "WGS 84 (EPSG:4326)",
    )
    mine, theirs = crs_names(CRS("+proj=longlat +R=6371229"), CRS(4326))
    assert "6371229" in mine
    assert "6378137, 298.257223563" in theirs
    one = CRS("+proj=utm +zone=32 +ellps=GRS80")
    mine, theirs = crs_names(one, CRS("+proj=utm +zone=33 +ellps=GRS80"))
    assert mine != theirs
    assert Grid(one, (1, 0, 0, 0, -1, 0), (2, 2)) != Grid(CRS(32633), (1, 0, 0, 0, -1, 0), (2, 2))


def test_what_is_no_reference_system_is_refused() -> None:
    with pytest.raises(GridError, match="unknown CRS 'EPSG:1': give a code"):
        checked_crs("EPSG:1")
