"""The manifest: what is noticed when its records are not those of the plan."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

import zoneraster as zr
from tests.samples import CHUNKS, GRID, sample_zones
from zoneraster._grid import Chunking
from zoneraster._store.manifest import INDEX_SCHEMA, Manifest, PassingWriter
from zoneraster._store.records import Records, chunk_fingerprint


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "zones.zarr"
    zr.build(sample_zones(), path, grid=GRID, key="fid", chunks=CHUNKS)
    return path


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "zones.zarr")
    return tmp_path / "zones.zarr"


def move_an_edge(store: Path) -> None:
    """Another edge in every batch of the manifest, below the same footer."""
    path = store / ".zoneraster" / "manifest.parquet"
    file = pq.ParquetFile(path)
    groups = [file.read_row_group(n) for n in range(file.num_row_groups)]
    with pq.ParquetWriter(path, file.schema_arrow) as writer:
        writer.add_key_value_metadata(file.metadata.metadata)
        for group in groups:
            edges = group["edges"].combine_chunks()
            moved = edges.values.to_numpy(zero_copy_only=False).copy()
            moved[:1] += 0.001
            lists = pa.ListArray.from_arrays(edges.offsets, pa.array(moved))
            at = group.column_names.index("edges")
            writer.write_table(group.set_column(at, group.schema.field(at), lists))


def burn_again(store: Path) -> None:
    shutil.rmtree(store / ".zoneraster" / "ledger")
    zr.run(store)


def reduce(store: Path) -> None:
    values = np.zeros(GRID.shape)
    coords = {"lat": GRID.y_centres(), "lon": GRID.x_centres()}
    zr.zonal_stats(store, xr.DataArray(values, coords, ("lat", "lon")))


def ask(store: Path) -> None:
    with zr.open_manifest(store) as manifest:
        manifest.zones_in((0, 500, 0, 500))


@pytest.mark.slow
@pytest.mark.parametrize("use", [burn_again, reduce, ask, lambda store: zr.verify(store, deep=1.0)])
def test_records_that_the_plan_was_not_made_of_are_noticed_by_all_who_read_them(
    store: Path, use: Callable[[Path], object]
) -> None:
    move_an_edge(store)
    with pytest.raises(
        zr.CorruptStoreError,
        match=r"the manifest of chunk \d+/\d+ is not what the plan was made of: delete "
        r"\.zoneraster/manifest\.parquet in the store, and build again with the same zones",
    ):
        use(store)
    (store / ".zoneraster" / "manifest.parquet").unlink()
    zr.build(sample_zones(), store, grid=GRID, key="fid", chunks=CHUNKS)
    use(store)


def test_a_manifest_that_cannot_be_read_is_named(store: Path) -> None:
    path = store / ".zoneraster" / "manifest.parquet"
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = bytes(len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(zr.CorruptStoreError, match=r"row group \d+ of the manifest cannot be read"):
        ask(store)


@pytest.mark.parametrize(
    "toggles", [[0, 10**6], [-5, 3], [3, 1], [1], [0, 1, 2], [0, CHUNKS + 1]], ids=str
)
def test_toggles_beyond_a_chunk_reach_no_kernel_whoever_made_their_hash(
    toggles: list[int],
) -> None:
    one, end = np.array([0], np.int32), np.array([0, len(toggles)])
    records = Records(
        one, one, np.array([7], np.uint32), np.array([False]),
        np.array([0, 0]), np.empty((0, 4)), end, np.array(toggles, np.int32),
    )  # fmt: skip
    made = chunk_fingerprint(b"spec", records)
    row = [0, 0, 0, 0, 0, 1, 1, made]
    index = pa.table([pa.array([value]) for value in row], names=INDEX_SCHEMA.names)
    sink = io.BytesIO()
    pq.write_table(records.to_table(), sink)
    cut = Chunking.of(GRID, CHUNKS)
    with (
        Manifest(io.BytesIO(sink.getvalue()), index, chunking=cut, spec_hash=b"spec") as manifest,
        pytest.raises(zr.CorruptStoreError, match="is not what the plan was made of"),
    ):
        manifest.records(0)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["a column less", "another type", "a gap"])
def test_a_chunk_index_of_another_schema_is_refused(store: Path, change: str) -> None:
    path = store / ".zoneraster" / "chunks.parquet"
    table = pq.read_table(path)
    if change == "a column less":
        table = table.drop_columns(["work"])
    elif change == "another type":
        table = table.set_column(0, "batch", table["batch"].cast(pa.string()))
    else:
        gap = pa.array([None] * table.num_rows, pa.int64())
        table = table.set_column(table.column_names.index("work"), "work", gap)
    pq.write_table(table, path)
    with pytest.raises(zr.StoreError, match="build again with the same zones"):
        zr.status(store)
    zr.build(sample_zones(), store, grid=GRID, key="fid", chunks=CHUNKS)
    assert zr.verify(store).ok


def test_chunks_of_zones_are_those_whose_records_name_them(built: Path) -> None:
    with zr.open_manifest(built) as manifest:
        rows = manifest.index.to_pylist()
        named = [
            set(manifest.records(row["row_group"]).of_chunk(row["first_record"], row["n_records"])
                .zone_id.tolist())
            for row in rows
        ]  # fmt: skip
        for zones in ([7], [14, 280], [3], []):
            found = manifest.chunks_of(np.array(zones, np.int64)).to_pylist()
            assert found == [row for row, ids in zip(rows, named, strict=True) if ids & {*zones}]


def test_records_of_one_call_are_those_of_a_store(built: Path) -> None:
    with zr.open_manifest(built) as stored:
        groups = sorted({row["row_group"] for row in stored.index.to_pylist()})
        sink = io.BytesIO()
        with PassingWriter(sink) as writer:
            for group in groups:
                writer.write(stored.records(group).to_table())
            writer.mark("a plan")
        passing = Manifest(
            io.BytesIO(sink.getvalue()), stored.index, chunking=stored.chunking,
            spec_hash=stored._spec_hash,
        )  # fmt: skip
        assert passing.plan == "a plan"
        for group in groups:
            for one, other in zip(passing.records(group), stored.records(group), strict=True):
                np.testing.assert_array_equal(one, other)
        ids = np.array([7, 70])
        assert passing.chunks_of(ids).equals(stored.chunks_of(ids))
