"""Stores of what plots cover of pixels: python tests/benchmarks/unions.py [N] [OLD_CHECKOUT].

N plots (2,000,000) of 0.2 ha (median) at random places, 20,000 to a square degree, so that some lie
over each other, on pixels of 1 arc-second; from a Parquet file to a store of covered parts, and one
of numbers of zones, each in a process of its own, by another checkout, too, where one is given.
Then 40 random windows of 300 x 300 pixels: the part that the union of their plots covers, as
exactextract has it, beside the store, its seconds scaled up by the number of plots; and how many
plots hold the centre of each pixel, by GEOS. At last both are built in smaller chunks: once, once
killed by SIGKILL at random moments until it is done, once with the plots of a corner moved, 1 % of
all, which the killed one is then updated to; whole and killed, fresh and updated must have the same
bytes. With COUNTIES=FILE in the environment only the builds, of these zones.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WINDOWS, SIDE = 40, 300
# Of a side of a chunk, where builds are killed.
CHUNKS = "1000"


def degrees(n: int) -> int:
    """Sides of the canvas."""
    return max(1, round(np.sqrt(n / 20_000)))


def prepare(folder: Path, n: int) -> None:
    import geopandas
    import shapely

    rng = np.random.default_rng(1)
    radius = np.sqrt(np.exp(rng.normal(np.log(0.2), 1.0, n)).clip(0.02, 30) * 1e4 / np.pi) / 111_320
    angle = np.arange(8) / 8 * 2 * np.pi + rng.random((n, 1)) * 6
    reach = radius[:, None] * rng.uniform(0.8, 1.2, (n, 8))
    x, y = rng.uniform(0, degrees(n), (2, n, 1))
    points = np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=-1)
    frame = geopandas.GeoDataFrame(
        {"plot": np.arange(n)}, geometry=shapely.polygons(points), crs=4326
    )
    frame.to_parquet(folder / "zones.parquet")


def move(folder: Path) -> dict[str, float]:
    """Another file, in which the plots of a corner, 1 % of all, lie elsewhere."""
    import geopandas
    import shapely

    plots = geopandas.read_parquet(folder / "zones.parquet")
    rng, shapes = np.random.default_rng(3), plots.geometry.to_numpy()
    corner = shapely.get_coordinates(shapely.centroid(shapes)) < degrees(shapes.size) / 10
    some = corner.all(axis=1)
    places, of = shapely.get_coordinates(shapes[some], return_index=True)
    places += rng.uniform(-0.01, 0.01, (some.sum(), 2))[of]
    shapes[some] = shapely.set_coordinates(shapes[some], places)
    plots.set_geometry(shapes, crs=4326).to_parquet(folder / "moved.parquet")
    return {"moved": some.sum()}


def build(
    folder: Path, product: str, name: str, zones: str = "zones.parquet", chunks: str = "4000"
) -> dict[str, float]:
    """CPU seconds of a build, once the kernels are there, and the memory of the process."""
    import geopandas

    import zoneraster as zr

    source = Path(os.environ.get("COUNTIES", folder / zones))
    side = degrees(int((folder / "n").read_text()))
    grid = zr.Grid.from_bounds((0, 0, side, side), "1/3600")
    if os.environ.get("COUNTIES"):
        grid = zr.Grid.from_bounds((-125, 24, -66, 50), "1/1200", "EPSG:4269")
    with tempfile.TemporaryDirectory() as elsewhere:
        few = geopandas.read_parquet(source).iloc[:9]
        zr.build(few, f"{elsewhere}/warm.zarr", grid=grid, product=product)
        del few
    begun, cpu = time.perf_counter(), time.process_time()
    report = zr.build(
        source, folder / f"{name}.zarr", grid=grid, product=product, chunks=int(chunks)
    )
    status = Path("/proc/self/status").read_text()  # getrusage knows of the parent, too
    return {
        "cpu s": time.process_time() - cpu, "s": time.perf_counter() - begun,
        "MB": report.nbytes / 1e6, "burned": report.burned, "kept": report.kept,
        "peak MB": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
    }  # fmt: skip


def exactextract(folder: Path) -> dict[str, float]:
    """Random windows, plots united in each."""
    import geopandas
    import shapely
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    import zoneraster as zr

    plots = geopandas.read_parquet(folder / "zones.parquet")
    cover = zr.open(folder / "cover.zarr")["cover"]
    rng, tree = np.random.default_rng(2), plots.sindex
    seconds = n = united = 0
    farthest = area = added = 0.0
    for _ in range(WINDOWS):
        row, col = rng.integers(0, cover.shape[0] - SIDE, 2)
        north, west = degrees(len(plots)) - row / 3600, col / 3600
        box = shapely.box(west, north - SIDE / 3600, west + SIDE / 3600, north)
        own = plots.geometry.to_numpy()[tree.query(box)]
        begun = time.process_time()
        whole = geopandas.GeoDataFrame(geometry=[shapely.union_all(own)], crs=4326)
        source = NumPyRasterSource(np.arange(SIDE**2, dtype=float).reshape(SIDE, SIDE), *box.bounds)
        found = exact_extract(source, whole, ["values", "coverage"], output="pandas")
        seconds += time.process_time() - begun
        theirs = np.zeros(SIDE**2)
        theirs[np.asarray(found["values"][0], int)] = found["coverage"][0]
        ours = cover[row : row + SIDE, col : col + SIDE].values.astype(float).ravel()
        farthest = max(farthest, np.abs(ours - theirs).max())
        n, united, area = n + len(own), united + 1, area + ours.sum()
        added += shapely.area(shapely.intersection(own, box)).sum() * 3600**2
    return {
        "windows": united, "plots": n, "farthest apart": farthest, "covered px": area,
        "sum of plots px": added, "cpu s scaled up": seconds / n * len(plots),
    }  # fmt: skip


def centres(folder: Path) -> dict[str, float]:
    """Random windows, plots that hold the centre of each pixel by GEOS."""
    import geopandas
    import shapely

    import zoneraster as zr

    plots = geopandas.read_parquet(folder / "zones.parquet")
    count = zr.open(folder / "count.zarr")["count"]
    rng, tree, shapes = np.random.default_rng(4), plots.sindex, plots.geometry.to_numpy()
    pixels = differing = plots_seen = most = 0
    for _ in range(WINDOWS):
        row, col = rng.integers(0, count.shape[0] - SIDE, 2)
        ours = count[row : row + SIDE, col : col + SIDE]
        x, y = (places.ravel() for places in np.meshgrid(ours["x"], ours["y"]))
        own = shapes[tree.query(shapely.box(x.min(), y.min(), x.max(), y.max()))]
        held, _ = shapely.STRtree(shapely.points(x, y)).query(own, predicate="contains")[::-1]
        theirs = np.bincount(held, minlength=SIDE**2)
        differing += int((theirs != ours.values.ravel()).sum())
        pixels, plots_seen = pixels + int(theirs.sum()), plots_seen + own.size
        most = max(most, int(theirs.max()))
    return {
        "windows": WINDOWS, "plots": plots_seen, "centres held": pixels,
        "most on a pixel": most, "pixels that differ": differing,
    }  # fmt: skip


def tree_of(store: Path) -> dict[str, str]:
    """Hash of every file of a store but for locks and the token."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.name not in {"lock", "planning", "token"}
    }


def command_of(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", __file__, *words]


def killed(folder: Path, product: str, name: str, seconds: float) -> None:
    """Build again and again; each build but the last one gets SIGKILL at a random moment."""
    rng, store = np.random.default_rng(5), folder / f"{name}.zarr"
    burned = []
    while len(burned) < 20:
        run = subprocess.Popen(
            command_of("build", str(folder), product, name, "zones.parquet", CHUNKS),
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            # Later and later, so that it comes to an end.
            said, _ = run.communicate(timeout=seconds * rng.uniform(0.2, 0.5 + 0.2 * len(burned)))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            burned.append(len(list((store / product / "c").rglob("*"))))
            continue
        print("killed", product, "after so many chunks and folders:", burned, said.strip())
        return


def same(folder: Path, product: str, one: str, other: str) -> None:
    """Print which files of two stores differ."""
    trees = [tree_of(folder / f"{name}.zarr") for name in (one, other)]
    differing = [key for key in {*trees[0], *trees[1]} if trees[0].get(key) != trees[1].get(key)]
    print(one, "and", other, f"of {product}: {len(trees[0])} files,", end=" ")
    print(f"{len(differing)} differ {sorted(differing)[:5]}", flush=True)


def interrupted(place: str) -> None:
    """Builds that are killed, and updates, beside builds that are not."""
    folder = Path(place)
    in_a_process("move", place)
    for product in ("cover", "count"):
        begun = time.perf_counter()
        in_a_process("build", place, product, f"{product}-whole", "zones.parquet", CHUNKS)
        killed(folder, product, f"{product}-killed", time.perf_counter() - begun)
        same(folder, product, f"{product}-whole", f"{product}-killed")
        in_a_process("build", place, product, f"{product}-killed", "moved.parquet", CHUNKS)
        in_a_process("build", place, product, f"{product}-fresh", "moved.parquet", CHUNKS)
        same(folder, product, f"{product}-fresh", f"{product}-killed")
        for name in ("whole", "killed", "fresh"):
            shutil.rmtree(folder / f"{product}-{name}.zarr")


def in_a_process(*words: str, checkout: str = "") -> None:
    env = {**os.environ, **({"PYTHONPATH": checkout} if checkout else {})}
    done = subprocess.run(
        command_of(*words), stdout=subprocess.PIPE, check=True, text=True, env=env
    )
    print(words[0], *words[2:], checkout, done.stdout.strip(), flush=True)


def main() -> None:
    verbs = {"build": build, "exactextract": exactextract, "centres": centres, "move": move}
    if sys.argv[1:] and sys.argv[1] in verbs:
        found = verbs[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
        print(json.dumps({name: round(float(value), 7) for name, value in found.items()}))
        return
    n = int(sys.argv[1]) if sys.argv[1:] else 2_000_000
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "n").write_text(str(n))
        if not os.environ.get("COUNTIES"):
            prepare(Path(place), n)
        for checkout in sys.argv[2:]:
            in_a_process("build", place, "cover", "old", checkout=checkout)
        in_a_process("build", place, "cover", "cover")
        in_a_process("build", place, "count", "count")
        if not os.environ.get("COUNTIES"):
            in_a_process("exactextract", place)
            in_a_process("centres", place)
            interrupted(place)


if __name__ == "__main__":
    main()
