"""The message of every error of the statistics."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

import zoneraster as zr
from tests.stats.samples import CLASSES, VALUES, build, moved, raster, write_zones
from zoneraster._stats.audit import check_closure
from zoneraster._stats.families import parse_stats
from zoneraster._stats.partial import Partial, decode_partial
from zoneraster._stats.request import Layout

TCD = zr.Raster("tcd.zarr")
BANDS = raster([VALUES, VALUES], dims=("band",), coords={"band": [1, 2]})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("errors") / "zones.zarr", name=["a", "b"])


def stats(store: Path, values: Any = None, **options: Any) -> Any:
    return zr.zonal_stats(store, raster(VALUES) if values is None else values, **options)


# ---- rasters -----------------------------------------------------------------------------------


def test_a_condition_is_neither_true_nor_false() -> None:
    said = "combine conditions with & | ~, not with and, or, not, and put comparisons in parenth"
    with pytest.raises(zr.ValuesError, match=said):
        bool(TCD > 1)
    with pytest.raises(zr.ValuesError, match=said):
        _ = TCD > 1 and TCD < 3
    with pytest.raises(zr.ValuesError, match=said):
        _ = 10 < TCD < 20


def test_conditions_say_what_they_are() -> None:
    condition = ((TCD >= 30) | TCD.isin([1, 2])) & ~TCD.is_valid()
    assert repr(condition) == "((tcd.zarr >= 30 | tcd.zarr isin (1, 2)) & ~tcd.zarr isvalid)"


@pytest.mark.parametrize("value", [2.5, math.inf, 2.0**53])
def test_labels_must_be_whole_numbers(store: Path, value: float) -> None:
    key = raster([[1, 1, value], [2, 2, 2], [3, 3, 3]])
    with pytest.raises(
        zr.ValuesError,
        match=r"holds .*, labels are whole numbers: use zr.thresholds for ranges, or",
    ):
        stats(store, by={"class": key})
    if math.isfinite(value):
        by = {"class": zr.labels(key, [1, value])}
        assert stats(store, stats="sum", by=by)["sum"].loc[(1, value)] == 3


@pytest.mark.parametrize("label", [2**61, -(2**61), 2**63 - 1, -(2**63)])
def test_labels_must_lie_below_2_to_the_61(store: Path, label: int) -> None:
    key = raster([[label, 1, 1], [1, 1, 1], [1, 1, 1]], dtype="int64")
    with pytest.raises(zr.ValuesError, match=r"holds labels beyond 2\*\*61: list them instead"):
        stats(store, by={"class": key})


@pytest.mark.parametrize("value", [None, math.nan, "30", TCD])
def test_a_raster_is_compared_with_numbers_only(value: Any) -> None:
    said = "a raster is compared with numbers; is_valid\\(\\) tells pixels with a value"
    with pytest.raises(zr.ValuesError, match=said):
        _ = TCD == value  # noqa: SIM300
    with pytest.raises(zr.ValuesError, match=said):
        _ = TCD >= value  # noqa: SIM300
    with pytest.raises(zr.ValuesError, match=said):
        TCD.isin([1, value])


def test_a_condition_must_be_one(store: Path) -> None:
    with pytest.raises(zr.ValuesError, match=r"where=DataArray 'value' is no condition: compare a"):
        stats(store, where=raster(VALUES))
    with pytest.raises(zr.ValuesError, match="where=bool is no condition"):
        stats(store, where=True)


@pytest.mark.parametrize(
    ("listed", "options", "said"),
    [
        ({1: 2}, {}, r"names of labels must be text, not \[2\]"),
        ({1: "a", 2: "a"}, {}, r"two labels have one name in \['a', 'a'\]: add their rows after"),
        ({1: "a"}, {"nodata": 0}, "nodata=0 must be text, as the labels have names, or 'error'"),
        ({1: "a"}, {"unlisted": 7}, "unlisted=7 must be text, as the labels have names, or"),
        ([1], {"nodata": "none"}, "nodata='none' must be a whole number, or 'error'"),
        (None, {"unlisted": 1.5}, "unlisted=1.5 must be a whole number, or 'error'"),
        ([], {}, "no labels are listed: give at least one number"),
        ({}, {}, "no labels are listed: give at least one number"),
        (["a"], {}, r"labels must be finite numbers, not \['a'\]"),
        ([math.nan], {}, r"labels must be finite numbers, not \[nan\]"),
        ([1, math.inf], {}, r"labels must be finite numbers, not \[1, inf\]"),
        ([1, 2, 1], {}, r"labels are listed twice in \[1, 2, 1\]"),
    ],
)
def test_labels_that_cannot_be_are_refused(listed: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(zr.ValuesError, match=said):
        zr.labels(TCD, listed, **options)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "no thresholds are listed: give at least one number"),
        ([1, math.nan], "thresholds must be finite numbers, not"),
        (["a", 1], r"thresholds must be finite numbers, not \['a', 1\]"),
        ([30, 10, 30], r"thresholds are listed twice in \[30, 10, 30\]"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(values: Any, said: str) -> None:
    with pytest.raises(zr.ValuesError, match=said):
        zr.thresholds(TCD, values)


def test_thresholds_have_a_bucket_with_a_number() -> None:
    with pytest.raises(zr.ValuesError, match="nodata='none' must be a whole number, or 'error'"):
        zr.thresholds(TCD, [10], nodata="none")


# ---- statistics --------------------------------------------------------------------------------


def test_statistics_that_cannot_be_are_refused(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError,
        match=r"unknown statistic 'average': did you mean 'mean'. .*like q0.25, or give a zr",
    ):
        stats(store, stats="average")
    for name in ("q1.5", "q-0.1", "q25", "q"):
        with pytest.raises(zr.ValuesError, match=f"unknown statistic '{name}'"):
            stats(store, stats=[name])
    with pytest.raises(zr.ValuesError, match="statistics given twice: mean, sum"):
        stats(store, stats=["sum", "mean", "sum", "mean"])
    with pytest.raises(zr.ValuesError, match="no statistics"):
        stats(store, stats=[])


def test_statistics_that_need_values_say_so(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError,
        match=r"'sum' needs values, and there are none: .*pixels, count, valid, area",
    ):
        zr.zonal_stats(store, stats=["count", "sum"])
    own = zr.Stat("own", lambda: (0,), lambda s, x, a: s, lambda s, t: s, lambda s: 0.0)
    with pytest.raises(zr.ValuesError, match="statistic 'own' needs values, and there are none"):
        zr.zonal_stats(store, stats=[own])


def test_sums_of_rates_and_area_sums_of_totals_are_refused(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError,
        match=r"sum of 'value' \(Mg/ha\) over pixels means nothing, as it is a rate per ha: ask "
        r"for 'area_sum' \(the total\) or 'area_mean', or set its units with zr.Raster\(..., u",
    ):
        stats(store, raster(VALUES, units="Mg/ha"))
    with pytest.raises(
        zr.ValuesError,
        match=r"'value' \(Mg/pixel\) is a total per pixel, which must not be multiplied by areas: "
        r"ask for 'sum' and 'mean', or set its units",
    ):
        stats(store, raster(VALUES, units="Mg/pixel"), stats="area_mean")


@pytest.mark.parametrize(
    "units", ["people/pixel", "Mg per grid cell", "counts px-1", "head / cells"]
)
def test_sums_of_totals_that_were_resampled_by_anything_but_sum_are_refused(
    store: Path, units: str
) -> None:
    values = moved(np.ones((6, 6)), ratio=0.75, units=units)
    with pytest.raises(zr.AlignmentError, match="'sum' for totals per pixel"):
        stats(store, values)
    for source, options in (
        (values, {"resample": "average"}), (zr.Raster(values, resample="nearest"), {}),
        ({"a": values, "b": values}, {"resample": "bilinear"}),
    ):  # fmt: skip
        with pytest.raises(zr.ValuesError, match="does not keep totals: give resample='sum'"):
            zr.zonal_stats(store, source, stats="sum", **options)
    # What one method keeps, or no units forbid.
    stats(store, values, stats="mean", resample="average")
    stats(store, zr.Raster(values, units=""), stats="sum", resample="average")
    total = stats(store, values, stats="sum", resample="sum")["sum"].sum()
    assert total == pytest.approx(8 / 0.75**2)


# ---- lattice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["by", "where"])
def test_keys_and_conditions_finer_than_the_values_are_refused_unless_resampled(
    store: Path, option: str
) -> None:
    fine = moved(np.repeat(np.repeat(CLASSES, 2, axis=0), 2, axis=1), ratio=0.5)

    def choose(**how: Any) -> dict[str, Any]:
        layer = zr.Raster(fine, **how)
        return {"by": {"class": layer}} if option == "by" else {"where": layer >= 1}

    with pytest.raises(zr.AlignmentError, match="finer than the values"):
        stats(store, **choose())
    found = stats(store, stats="sum", **choose(resample="nearest"))
    assert found["sum"].sum() == 38


# ---- stats -------------------------------------------------------------------------------------


def test_an_unknown_unit_of_areas_is_refused(store: Path) -> None:
    with pytest.raises(zr.ValuesError, match="area must be one of m2, ha, km2, not 'acres'"):
        stats(store, area="acres")


def test_keys_must_have_names(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError, match=r"by=DataArray 'value' is no mapping of names to rasters: by="
    ):
        stats(store, by=raster(CLASSES))


def test_no_measure_at_all_is_refused(store: Path) -> None:
    with pytest.raises(zr.ValuesError, match="no value raster given"):
        stats(store, {})


def test_two_measures_of_one_name_are_refused(store: Path) -> None:
    values = {"a_b": raster(VALUES), "a": xr.Dataset({"b": raster(VALUES), "c": raster(VALUES)})}
    with pytest.raises(zr.ValuesError, match="measures named twice: a_b"):
        stats(store, values)


def test_measures_must_have_the_same_extra_dimensions(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError,
        match=r"different extra dimensions \('a' has none and 'b' has \('band',\)\): call once for",
    ):
        stats(store, {"a": raster(VALUES), "b": BANDS})
    later = BANDS.assign_coords(band=[1, 3])
    with pytest.raises(
        zr.ValuesError, match="measures 'a' and 'b' have other coordinates along 'band': call once"
    ):
        stats(store, {"a": BANDS, "b": later})
    more = raster([VALUES] * 3, dims=("band",), coords={"band": [1, 2, 3]})
    with pytest.raises(zr.ValuesError, match="other coordinates along 'band'"):
        stats(store, {"a": BANDS, "b": more})


@pytest.mark.parametrize("second", [np.datetime64("NaT"), np.nan])
def test_a_coordinate_that_is_none_is_like_itself(store: Path, second: Any) -> None:
    first = np.datetime64("2020-01-01") if isinstance(second, np.datetime64) else 1.0
    steps = np.array([first, second])
    cube = raster([VALUES, VALUES], dims=("step",), coords={"step": steps})
    table = stats(store, {"a": cube, "b": cube.copy(data=cube.values + 1)}, stats="sum")
    assert table["a_sum"].tolist() == [10, 10, 28, 28]
    assert table["b_sum"].tolist() == [14, 14, 32, 32]
    other = cube.assign_coords(step=np.array([first, first]))
    with pytest.raises(zr.ValuesError, match="other coordinates along 'step'"):
        stats(store, {"a": cube, "b": other}, stats="sum")


def test_keys_and_conditions_have_no_extra_dimensions(store: Path) -> None:
    said = r"extra dimensions \('band',\), which keys, predicates and weights must not have: choose"
    with pytest.raises(zr.ValuesError, match=said):
        stats(store, by={"class": BANDS})
    with pytest.raises(zr.ValuesError, match=said):
        stats(store, where=zr.Raster(BANDS) > 1)
    assert len(stats(store, by={"class": zr.Raster(BANDS, band=1)})) == 8


def test_measures_of_different_sizes_below_the_stores_are_refused(store: Path) -> None:
    values = {"a": moved(np.ones((6, 6)), ratio=1 / 2), "b": moved(np.ones((9, 9)), ratio=1 / 3)}
    with pytest.raises(
        zr.ValuesError,
        match=r"pixels of different sizes below the grid's: .*\(1/2\) and .*\(1/3\)",
    ):
        stats(store, values)


def test_values_that_lie_elsewhere_are_refused(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError,
        match=r"covers .*, the grid .*, west, .*: they do not meet: are these the pixels of",
    ):
        stats(store, moved(VALUES, rows=3))


def test_a_key_named_like_an_extra_dimension_is_refused(store: Path) -> None:
    with pytest.raises(zr.ValuesError, match="a key is named like an extra dimension: band, band"):
        stats(store, BANDS, by={"band": raster(CLASSES)})


def test_groups_of_zones_have_no_attributes(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError, match="roll_up= has rows for groups of zones, which have no attributes="
    ):
        stats(store, roll_up="name", attributes=["name"])


@pytest.mark.parametrize("option", ["roll_up", "attributes"])
def test_columns_that_the_zone_table_has_not_are_refused(
    store: Path, option: str, tmp_path: Path
) -> None:
    with pytest.raises(zr.ValuesError, match=r"the zones have no column 'continent': .*fid.*name"):
        stats(store, **{option: "continent"})
    path = write_zones(tmp_path / "zones.zarr", np.array(CLASSES, "uint8"))
    with pytest.raises(zr.ValuesError, match="no column 'name': there are zone_id"):
        stats(path, **{option: ["name"]})


def test_a_key_named_like_the_zones_key_is_refused(store: Path) -> None:
    said = "is the name of the zones' key too: give another name in by="
    with pytest.raises(zr.ValuesError, match=f"'fid' {said}"):
        stats(store, by={"fid": raster(CLASSES)})
    with pytest.raises(zr.ValuesError, match=f"'name' {said}"):
        stats(store, by={"name": raster(CLASSES)}, roll_up="name")


def test_an_attribute_named_like_a_statistic_is_refused(tmp_path: Path) -> None:
    store = build(tmp_path / "zones.zarr", sum=[1, 2])
    with pytest.raises(zr.ValuesError, match="two columns would be named 'sum'"):
        stats(store, stats=["sum"], attributes=["sum"])
    assert stats(store, stats=["mean"], attributes=["sum"])["sum"].tolist() == [1, 2]


def test_an_interrupted_call_says_what_is_safe(store: Path, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("stats", 9)
        if done:
            raise KeyboardInterrupt

    for executor in ("serial", 2):
        with pytest.raises(
            zr.BuildInterrupted, match=r"stopped after \d+% of the .*; give checkpoint= to keep"
        ):
            stats(store, progress=stop, executor=executor)
        with pytest.raises(
            zr.BuildInterrupted, match=r"stopped after \d+% .*what is done is safe in .*/kept"
        ):
            stats(store, progress=stop, executor=executor, checkpoint=tmp_path / f"{executor}/kept")
        table = stats(store, stats="sum", checkpoint=tmp_path / f"{executor}/kept")
        assert table["sum"].tolist() == [10, 28]


# ---- table -------------------------------------------------------------------------------------


def test_pixels_that_do_not_add_up_are_reported() -> None:
    one = np.array([1])
    none = np.zeros(0)
    partial = Partial(np.array([[0, 1]]), one, none, one * 1.0, (), np.zeros((1, 0)), 3, 1)
    layout = Layout(parse_stats("count", has_values=False), (), {}, {}, "m2", (), (), 1)
    zones = pa.table({"zone_id": [1], "owned": [1]})
    with pytest.raises(
        zr.ClosureError,
        match="1 pixels in zones, 0 of them once more, and 1 without make 3 read: please report",
    ):
        check_closure(partial, layout, zones)
    partial = replace(partial, read=2)
    assert check_closure(partial, layout, zones)["in_zones"] == 1
    with pytest.raises(
        zr.ClosureError,
        match=r"1 zones have other pixel counts than the build found, first zone 1 \(id\): 1 "
        "instead of 4; run zoneraster verify",
    ):
        check_closure(partial, replace(layout, fine=2), zones)


def test_zone_ids_that_the_table_does_not_know_are_refused(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "zones.zarr", np.array(CLASSES, "uint8"))
    pq.write_table(pa.table({"zone_id": pa.array([1], pa.uint32())}), path / "zones.parquet")
    with pytest.raises(
        zr.StoreError,
        match=r"holds zone ids that the zone table does not know \(2, 3\): build the store again",
    ):
        stats(path)


def test_columns_of_one_name_are_refused(store: Path) -> None:
    with pytest.raises(
        zr.ValuesError, match="two columns would be named 'sum': rename a measure or key"
    ):
        stats(store, by={"sum": raster(CLASSES)})
    own = zr.Stat("b_sum", lambda: (0,), lambda s, x, a: s, lambda s, t: s, lambda s: 0.0)
    with pytest.raises(
        zr.ValuesError, match="two columns would be named 'a_b_sum': rename a measure or statistic"
    ):
        stats(store, {"a": raster(VALUES), "a_b": raster(VALUES)}, stats=["sum", own])
    own = replace(own, name="histogram_1")
    with pytest.raises(zr.ValuesError, match="two columns would be named 'histogram_1'"):
        stats(store, raster(CLASSES), stats=["histogram", own])


def test_a_label_named_like_a_bucket_is_refused(store: Path) -> None:
    key = raster([[-1, 1, 1], [99, 1, 1], [1, 1, 1]], _FillValue=99)
    with pytest.raises(
        zr.ValuesError,
        match=r"key 'class' has a label that is also the name of a bucket .*give other names with",
    ):
        stats(store, by={"class": key})
    assert len(stats(store, by={"class": zr.labels(key, nodata=-9)})) == 4


@pytest.mark.parametrize("name", ["histogram", "fractions"])
def test_a_histogram_of_more_than_a_thousand_values_is_refused(tmp_path: Path, name: str) -> None:
    grid = zr.Grid.from_bounds((0, 0, 40, 40), 1, "EPSG:32633")
    store = build(tmp_path / "zones.zarr", np.ones((40, 40), int), grid, chunks=40)
    values = raster(np.arange(1600).reshape(40, 40), grid)
    with pytest.raises(
        zr.ValuesError,
        match=rf"a {name} of 1,600 different values is too wide: group by the raster instead, by=",
    ):
        stats(store, values, stats=name)
    values[:] = values.to_numpy() % 1000
    assert stats(store, values, stats=name).shape == (1, 1000)


# ---- checkpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3"])
def test_a_mark_that_cannot_be_read_is_refused(store: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "checkpoint.json").write_text(text)
    with pytest.raises(zr.StoreError, match=r"checkpoint.json cannot be read \(.*\): delete it"):
        stats(store, checkpoint=tmp_path)


def test_a_checkpoint_of_another_version_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text(json.dumps({"zoneraster_checkpoint": 99}))
    with pytest.raises(
        zr.StoreError, match="has format version 99, this zoneraster reads 1: give another folder"
    ):
        stats(store, checkpoint=tmp_path)


def above(limit: object, **options: Any) -> zr.Stat:
    """How many values lie above a limit."""
    return zr.Stat(
        "above",
        init=lambda: (0.0,),
        update=lambda s, x, a: (s[0] + (x > limit).sum(),),
        combine=lambda s, t: (s[0] + t[0],),
        finalize=lambda s: s[0],
        **options,
    )


def test_a_checkpoint_counts_a_changed_statistic_anew(store: Path, tmp_path: Path) -> None:
    for limit in (0, 4, 8, 4):
        table = stats(store, stats=[above(limit)], checkpoint=tmp_path)
        assert table.equals(stats(store, stats=[above(limit)]))


def test_a_statistic_that_cannot_be_told_from_a_changed_one_needs_a_version_in_a_checkpoint(
    store: Path, tmp_path: Path
) -> None:
    limits = pd.Series([4.0])
    with pytest.raises(
        zr.ValuesError,
        match=r"cannot tell whether the statistic 'above' is still what .* made with: 'limit' in "
        r"update is a pandas\..*; give zr.Stat\(..., version='1'\), and another version when it",
    ):
        stats(store, stats=[above(limits)], checkpoint=tmp_path)
    assert not (tmp_path / "partials").exists()
    for version, limit in (("1", 4), ("2", 8)):
        stat = above(pd.Series([float(limit)]).to_numpy(), version=version)
        table = stats(store, stats=[stat], checkpoint=tmp_path)
        assert table.equals(stats(store, stats=[above(limit)]))
    # A version goes before what can be seen of the functions.
    table = stats(store, stats=[above(0, version="1")], checkpoint=tmp_path)
    assert table.equals(stats(store, stats=[above(4)]))


def test_damaged_partials_are_made_again(store: Path, tmp_path: Path) -> None:
    raster(VALUES).to_dataset().to_zarr(tmp_path / "v.zarr")
    values, kept = tmp_path / "v.zarr", tmp_path / "kept"
    expected = stats(store, values, stats="sum", checkpoint=kept)
    (folder,) = (kept / "partials").iterdir()
    for damage in (0, 10, None):
        for partial in folder.iterdir():
            data = bytearray(partial.read_bytes())
            if damage is None:
                data[len(data) // 4] ^= 255
            partial.write_bytes(bytes(data[:damage]))
        assert stats(store, values, stats="sum", checkpoint=kept).equals(expected)
    owner = partial.name.split("-")[2]
    old, other = folder / f"0-old-{owner}-1.parquet", folder / "0-old-another-1.parquet"
    for path in (old, other):
        path.write_bytes(b"old")
    stats(store, values, stats="sum", checkpoint=kept)
    assert not old.exists()
    assert other.exists()


@pytest.mark.parametrize("version", [1, b"1", 2024.5])
def test_a_version_that_is_no_text_is_refused(store: Path, version: Any) -> None:
    with pytest.raises(zr.ValuesError, match=r"version=.* must be a text, such as '2024-06'"):
        stats(store, zr.Raster(raster(VALUES), version=version))


def test_bytes_that_are_no_partial_are_refused(tmp_path: Path) -> None:
    with pytest.raises(zr.CorruptStoreError, match=r"partial p1 cannot be read \(.*\): delete it"):
        decode_partial("p1", b"no Parquet at all")
    table = pa.table({"lane": [0]})
    for metadata, said in (
        ({}, "cannot be read"),
        ({"zoneraster:partial": "99", "zoneraster:totals": "{}"}, "p1 has another format version"),
    ):
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "p1")
        with pytest.raises(zr.CorruptStoreError, match=said):
            decode_partial("p1", (tmp_path / "p1").read_bytes())


# ---- zones and values --------------------------------------------------------------------------


def test_zones_must_be_whole_numbers_from_0(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "floats.zarr", np.array(CLASSES, "float32"))
    with pytest.raises(zr.StoreError, match="are float32: they must be integers"):
        stats(path)
    path = write_zones(tmp_path / "negative.zarr", np.array(CLASSES, "int16") - 3)
    with pytest.raises(
        zr.StoreError, match=r"chunk 0/0 of the zones holds -2: zone ids are positive, 0 is no zone"
    ):
        stats(path)


def test_zones_have_at_most_one_dimension_more(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "four.zarr", np.ones((2, 2, 3, 3), "uint8"))
    with pytest.raises(
        zr.StoreError,
        match=r"dimensions \('time', 'layer', 'y', 'x'\): \(y, x\) or \(layer, y, x\) is needed",
    ):
        stats(path)


def test_a_zone_table_without_ids_or_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "zones.zarr", np.array(CLASSES, "uint8"))
    pq.write_table(pa.table({"name": ["a"]}), path / "zones.parquet")
    with pytest.raises(
        zr.StoreError, match=r"zones\.parquet has no whole numbers zone_id, .*columns are name"
    ):
        stats(path)
    (path / "zones.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(zr.CorruptStoreError, match=r"zones\.parquet cannot be read"):
        stats(path)


def test_sums_of_int64_that_may_overflow_are_refused_but_for_their_nodata(store: Path) -> None:
    values = np.array(VALUES, "int64")
    values[0, 0] = -(2**63)
    with pytest.raises(
        zr.ValuesError, match=r"integers up to 9,223,372,036,854,775,808 may overflow in sums"
    ):
        stats(store, raster(values))
    assert stats(store, raster(values, _FillValue=-(2**63)), stats="sum")["sum"].tolist() == [9, 28]


def test_a_value_raster_that_is_not_there_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(zr.ValuesError, match=r"height\.tif: no such file"):
        stats(store, tmp_path / "height.tif")
    with pytest.raises(zr.ValuesError, match=r"class\.zarr.*"):
        stats(store, by={"class": tmp_path / "class.zarr"})


@pytest.mark.parametrize("options", [{"executor": "gpu"}, {"workers": 0}])
def test_executors_and_workers_that_cannot_be_leave_no_checkpoint(
    store: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(zr.OptionError, match=r"unknown executor 'gpu'|workers must be 1 or more"):
        stats(store, checkpoint=tmp_path / "kept", **options)
    assert not list(tmp_path.iterdir())
