"""The manifest: what is noticed when its records are not those of the plan."""

from __future__ import annotations

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
