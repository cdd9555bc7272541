"""Hand-written parts against libraries: python tests/benchmarks/hand_written.py wkb | ... | torn.

Not a test: it prints the figures of docs/decisions/013-hand-written-parts.md. Real zones come from
the folder that ZONERASTER_DATA names; `torn` also tries universal_pathlib where it is installed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ZONERASTER_DATA") or ROOT.parent / "shared" / "data")
SIZE = 64_000_000


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wkb() -> None:
    """Rings of the districts: time, memory, equality. Ours first, since peaks only grow."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    from zoneraster._zones.wkb import walk_wkb

    table = pq.read_table(DATA / "geoboundaries_adm.parquet", columns=["geometry"])
    stored = table["geometry"].combine_chunks().cast(pa.large_binary())
    walk_wkb(stored[:10])
    before, started = peak_mb(), time.process_time()
    ours = walk_wkb(stored).ragged
    print(f"ours    {time.process_time() - started:.2f} s CPU, {peak_mb() - before:.0f} MB more")
    before, started = peak_mb(), time.process_time()
    shapes = shapely.from_wkb(stored.to_numpy(zero_copy_only=False))
    parsed = time.process_time() - started
    _, xy, offsets = shapely.to_ragged_array(shapes)
    taken = time.process_time() - started
    print(f"shapely {taken:.2f} s CPU ({parsed:.2f} parsing), {peak_mb() - before:.0f} MB more")
    same = [(ours.xy, xy), (ours.ring_offsets, offsets[0]), (ours.part_offsets, offsets[1])]
    print(f"{len(xy):,} vertices; equal: {[np.array_equal(a, b) for a, b in same]}")


def hostile() -> None:
    """What no honest file holds, each in a process of its own."""

    def head(kind: int, count: int) -> bytes:
        return b"\x01" + struct.pack("<II", kind, count)

    cases = {
        "collections, a million deep": head(7, 1) * 1_000_000 + head(3, 0),
        "4,294,967,295 parts": head(6, 2**32 - 1),
        "4,294,967,295 rings": head(3, 2**32 - 1),
        "500,000,000 vertices": head(3, 1) + struct.pack("<I", 500_000_000),
        "NaN": head(3, 1) + struct.pack("<I9d", 4, *[np.nan] * 8, 0)[:68],
        "open ring": head(3, 1) + struct.pack("<I", 4) + struct.pack("<8d", 0, 0, 1, 0, 1, 1, 0, 1),
    }
    codes = {
        "shapely": "import shapely; print(shapely.from_wkb(b, on_invalid='ignore'))",
        "ours": "import pyarrow as pa; from zoneraster._zones.wkb import walk_wkb\n"
        "print(walk_wkb(pa.array([b], pa.large_binary())).code.tolist())",
    }
    for (name, stored), (who, code) in itertools.product(cases.items(), codes.items()):
        command = [sys.executable, "-c", f"import sys; b = sys.stdin.buffer.read()\n{code}"]
        ended = subprocess.run(command, input=stored, capture_output=True, check=False)
        said = ended.stdout.decode().strip()[:60]
        print(f"{name:30} {who:8} exit code {ended.returncode:4}  {said}")


def deviation(projection: Any, start: Any, end: Any, chord: Any) -> float:
    """Largest distance of true curves from chords, pixels, at 32 places of each edge."""
    p, d = chord[0] / projection.resolution, (chord[1] - chord[0]) / projection.resolution
    squared, worst = np.maximum((d**2).sum(axis=1), 1e-300), 0.0
    for t in np.arange(1, 33) / 33:
        m = projection.pixels(start + (end - start) * t) - p
        along = np.clip((m * d).sum(axis=1) / squared, 0, 1)
        worst = max(worst, float(np.hypot(*(m - along[:, None] * d).T).max()))
    return worst


def edges() -> None:
    """Vertices alone, ours, and a fixed step: time, points, deviation."""
    import geopandas
    import pyproj
    import shapely

    import zoneraster as zr
    from zoneraster._zones.reproject import Projection, reproject_ragged
    from zoneraster._zones.wkb import walk_wkb, wkb_of

    corners = itertools.product(range(25), range(38, 58))
    swiss = geopandas.read_parquet(DATA / "swiss_municipalities_2025.parquet").geometry
    italian = geopandas.read_parquet(DATA / "italy_municipalities_2022.parquet").geometry
    degrees = zr.Grid.from_bounds((5, 45, 11, 48), "1/4000", "EPSG:4326")
    europe = zr.Grid.from_bounds((2400000, 1200000, 6000000, 4800000), 30, "EPSG:3035")
    boxes = np.array([shapely.box(x, y, x + 1, y + 1) for x, y in corners])
    cases = {
        "Swiss": (swiss.to_numpy(), 2056, degrees, 1.0),
        "Italian": (italian[italian.is_valid].to_numpy(), 4326, europe, 1 / 111320),
        "boxes": (boxes, 4326, europe, 1 / 111320),
    }
    for name, (shapes, source, grid, metre) in cases.items():
        ragged = walk_wkb(wkb_of(shapes)).ragged
        projection = Projection.between(pyproj.CRS(source), grid)
        back = pyproj.Transformer.from_crs(grid.crs, source, always_xy=True)

        def followed(ragged: Any = ragged, projection: Any = projection) -> Any:
            brought = reproject_ragged(ragged, projection, ring_name=str)
            return None, brought.xy, brought.ring_offsets

        ways: dict[str, Any] = {
            "vertices alone": lambda: (ragged.xy, None, ragged.ring_offsets),  # noqa: B023
            "zoneraster": followed,
        }
        for step in (10_000, 1_000):

            def cut(far: float = step * metre, shapes: Any = shapes) -> Any:
                _, xy, offsets = shapely.to_ragged_array(shapely.segmentize(shapes, far))
                return xy, None, offsets[0]

            ways[f"segmentize {step:,} m"] = cut
        for way, points in ways.items():
            started = time.process_time()
            xy, placed, offsets = points()
            placed = projection.project(xy) if placed is None else placed
            taken = time.process_time() - started
            xy = np.stack(back.transform(*placed.T), axis=1) if xy is None else xy
            is_edge = np.ones(len(xy), bool)
            is_edge[offsets[1:] - 1] = False
            at = np.flatnonzero(is_edge)
            off = deviation(projection, xy[at], xy[at + 1], (placed[at], placed[at + 1]))
            print(f"{name:8} {way:20} {taken:5.2f} s, {len(xy):9,} points, off by {off:.4f} pixels")
    line = [(0.1, 40.1), (1.3, 40.7)]
    one, two = (shapely.segmentize(shapely.LineString(way), 0.01) for way in (line, line[::-1]))
    there, again = (set(map(tuple, shapely.get_coordinates(way))) for way in (one, two))
    print(f"one edge from both ends: {len(there & again)} of {len(there)} points are the same")


def torn() -> None:
    """Kill a process that writes over a file again and again; is the file whole?"""
    ways = {
        "fsspec pipe_file": "import fsspec; fs = fsspec.filesystem('file')\n"
        "def go(): fs.pipe_file(f'{D}/a', data)",
        "fsspec transaction": "import fsspec; fs = fsspec.filesystem('file')\n"
        "def go():\n with fs.transaction:\n  with fs.open(f'{D}/a', 'wb') as f: f.write(data)",
        "UPath write_bytes": "from upath import UPath\ndef go(): UPath(f'{D}/a').write_bytes(data)",
        "LocalBlobs put": "from pathlib import Path; from zoneraster.blobs import LocalBlobs\n"
        "b = LocalBlobs(Path(D))\ndef go(): b.put('a', data)",
    }
    for name, code in ways.items():
        n_torn = 0
        for i in range(20):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "a"
                path.write_bytes(b"o" * SIZE)
                text = f"D = {folder!r}; data = b'n' * {SIZE}\n{code}\nprint('on', flush=True)\n"
                command = [sys.executable, "-c", f"{text}while True: go()"]
                process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
                started = process.stdout is not None and process.stdout.readline() == "on\n"
                time.sleep(0.05 + 0.013 * i)
                process.kill()
                process.wait()
                if not started:
                    break
                found = path.read_bytes()
                n_torn += found not in (b"o" * SIZE, b"n" * SIZE)
        print(
            f"{name:20} " + (f"torn {n_torn} of 20" if started else "did not start: not installed?")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"wkb": wkb, "hostile": hostile, "edges": edges, "torn": torn}
    parser.add_argument("what", choices=parts)
    parts[parser.parse_args().what]()


if __name__ == "__main__":
    main()
