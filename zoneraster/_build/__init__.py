"""Zones into a store: plan, burn, finish; and what a store answers about itself.

`verbs` are the public ones; `plan` makes the plan (with `slabs`, `boxes`, `order`, `rescue`, and
`sets`, which finds zones that share pixels), `batch` is what one task does: burn chunks (`chunk`),
put them, put the receipt; `burning` is the loop over tasks, `closing` the end of a build; `once`
plans for one call; `ask` has status, verify and info; `results` what all return.
"""

from zoneraster._build.ask import info as info
from zoneraster._build.ask import open_manifest as open_manifest
from zoneraster._build.ask import open_sets as open_sets
from zoneraster._build.ask import open_store as open_store
from zoneraster._build.ask import open_zones as open_zones
from zoneraster._build.ask import status as status
from zoneraster._build.ask import verify as verify
from zoneraster._build.ask import zone_frame as zone_frame
from zoneraster._build.asked import PlanOptions as PlanOptions
from zoneraster._build.chunk import ChunkCells as ChunkCells
from zoneraster._build.chunk import ChunkRuns as ChunkRuns
from zoneraster._build.chunk import chunk_cells as chunk_cells
from zoneraster._build.chunk import chunk_runs as chunk_runs
from zoneraster._build.chunk import contested_zones as contested_zones
from zoneraster._build.once import clear_plan as clear_plan
from zoneraster._build.once import plan_once as plan_once
from zoneraster._build.results import BuildReport as BuildReport
from zoneraster._build.results import PlanSummary as PlanSummary
from zoneraster._build.results import RunSummary as RunSummary
from zoneraster._build.results import Status as Status
from zoneraster._build.results import VerifyReport as VerifyReport
from zoneraster._build.results import remarkable_zones as remarkable_zones
from zoneraster._build.verbs import build as build
from zoneraster._build.verbs import build_part as build_part
from zoneraster._build.verbs import finish as finish
from zoneraster._build.verbs import make_plan as make_plan
from zoneraster._build.verbs import run as run
