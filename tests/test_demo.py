"""The data of the demo: names of counties, held against where they lie."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from zoneraster.demo import _table_lines, counties_path

# By the first two digits of their FIPS code.
STATES = {2: "Alaska", 6: "California", 9: "Connecticut", 48: "Texas", 60: "American Samoa"}


@pytest.mark.slow
def test_counties_have_the_names_of_the_counties_that_lie_where_they_do(data_dir: Path) -> None:
    counties = geopandas.read_parquet(counties_path())
    source = geopandas.read_parquet(data_dir / "us_counties_2023.parquet")
    atlas = geopandas.read_parquet(data_dir / "us_counties_atlas2017.parquet")
    wkb = [shapely.to_wkb(one.geometry.to_numpy()) for one in (counties, source)]
    assert np.array_equal(*wkb)
    drawn = shapely.make_valid(atlas.geometry.to_numpy())
    inside = shapely.STRtree(drawn).query(
        shapely.point_on_surface(counties.geometry.to_numpy()), predicate="intersects"
    )
    found = dict(zip(*inside.tolist(), strict=True))
    own = counties["name"].str.startswith("county record").to_numpy()
    assert own.sum() == 16
    # Cities of Virginia are drawn so small that their middles may lie in the county around them.
    other = {i for i, j in found.items() if not own[i] and counties["name"][i] != atlas["name"][j]}
    assert all(counties["state"][i] == "Virginia" for i in other)
    assert len(other) < 10
    for i, j in found.items():
        state = STATES.get(int(atlas["zone_id"][j]) // 1000)
        assert state in (None, counties["state"][i])
    without = Counter(counties["state"][own])
    assert without == {"Connecticut": 9, "Alaska": 4, "American Samoa": 2, "Virginia": 1}
    named = counties[~own]
    twice = named[named.duplicated(["name", "state"])]
    # A county and a city of one name.
    assert set(twice["state"]) <= {"Virginia", "Maryland", "Missouri"}


def test_long_names_are_cut_to_the_width_of_the_table() -> None:
    row = {
        "name": "Saint John the Evangelist", "state": "District of Columbia", "pixels": 234567890,
        "area_km2": 123456.7, "difference_percent": -12.34567, "climate": "temperate",
        "temperate_percent": 100.0,
    }  # fmt: skip
    head, units, line = _table_lines(pd.DataFrame([row]))
    assert max(map(len, (head, units, line))) <= 80
    assert "…, District of Columbia  234,567,890" in line
    assert line.endswith("temperate 100")
