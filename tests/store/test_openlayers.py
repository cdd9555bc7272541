"""OpenLayers opens a store by what its group says, over HTTP, without a server of tiles."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest
import zarr

import zoneraster as zr
from tests.conftest import Web
from tests.samples import CHUNKS, GRID, sample_zones

pytestmark = pytest.mark.slow

# What the source has found out of the store, and one of its tiles.
SCRIPT = """
import GeoZarr from 'ol/source/GeoZarr.js';

const source = new GeoZarr({url: process.argv[2], bands: ['zone']});
await new Promise((resolve) => {
  const look = () => source.getState() !== 'loading' && resolve();
  source.on('change', look);
  look();
});
if (source.getState() !== 'ready') {
  throw source.error_;
}
const grid = source.getTileGrid();
const tile = source.getTile(0, 1, 0, 1, source.getProjection());
await new Promise((resolve, reject) => {
  tile.addEventListener('change', () => {
    if (tile.getState() === 2) resolve();
    if (tile.getState() === 3) reject(new Error('the tile cannot be read'));
  });
  tile.load();
});
console.log(JSON.stringify({
  projection: source.getProjection().getCode(),
  extent: grid.getExtent(),
  resolutions: grid.getResolutions(),
  bands: source.bandCount,
  tile: Array.from(tile.getData()),
}));
"""


def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, **how)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that tells what OpenLayers makes of a URL."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("OpenLayers is run by node, with its npm")
    folder = tmp_path_factory.mktemp("openlayers")
    (folder / "package.json").write_text('{"private": true}')
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "ol@10.10.0"]
    done = run(install, cwd=folder)
    if done.returncode:
        pytest.skip(f"npm brings no OpenLayers: {done.stderr.strip()[-200:]}")
    (folder / "open.mjs").write_text(SCRIPT)
    return [node, str(folder / "open.mjs")]


def opened(script: list[str], url: str) -> dict[str, Any]:
    done = run([*script, url])
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("web", [404], indirect=True)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_openlayers_configures_itself_and_reads_the_pixels(
    web: Web, script: list[str], crs: str
) -> None:
    grid = zr.Grid(crs, GRID.transform, (GRID.height, GRID.width))
    zones = sample_zones().set_crs(crs, allow_override=True)
    zr.build(zones, web.folder / "zones.zarr", grid=grid, key="fid", chunks=CHUNKS)
    said = opened(script, f"{web.url}/zones.zarr")
    assert said["projection"] == crs
    assert said["extent"] == [0, 0, 10, 10]
    assert said["resolutions"] == [pytest.approx(0.02)]
    # The second tile of the first row: pixels 256 to 500, with what lies beside the grid as 0.
    tile = np.array(said["tile"]).reshape(256, 256, said["bands"])[:, :244, 0]
    pixels = zarr.open_array(web.folder / "zones.zarr" / "zone", mode="r")[:256, 256:500]
    assert pixels.any()
    assert np.array_equal(tile, pixels)


@pytest.mark.parametrize("web", [404], indirect=True)
def test_without_the_attributes_of_the_group_it_cannot(web: Web, script: list[str]) -> None:
    store = web.folder / "zones.zarr"
    zr.build(sample_zones(), store, grid=GRID, key="fid", chunks=CHUNKS)
    root = store / "zarr.json"
    said = json.loads(root.read_text())
    said["attributes"] = {"Conventions": "CF-1.11", "title": "zone raster"}
    root.write_text(json.dumps(said))
    done = run([*script, f"{web.url}/zones.zarr"])
    assert "Could not determine tile grid" in done.stderr
