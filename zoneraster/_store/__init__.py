"""What a store holds, one file format a room.

`spec` (options), `manifest` and `records` (which zone has which edges in which chunk), `ledger`
(what is done: receipts), `ids`, `sets` and `zone_table` (zones), `zarr_meta` (the Zarr array),
`parquet` (tables as objects); `snapshot` opens those that belong together, and `zarr_view` shows
them to zarr. Who writes them, and when, is the business of the floor above.
"""

from zoneraster._store import ledger as ledger
from zoneraster._store.ids import ZoneIds as ZoneIds
from zoneraster._store.ids import are_ids as are_ids
from zoneraster._store.ids import give_ids as give_ids
from zoneraster._store.ids import id_dtype as id_dtype
from zoneraster._store.ids import ids_are_kept as ids_are_kept
from zoneraster._store.ids import kept_ids as kept_ids
from zoneraster._store.ledger import ChunkReceipt as ChunkReceipt
from zoneraster._store.ledger import crc32c as crc32c
from zoneraster._store.manifest import INDEX_SCHEMA as INDEX_SCHEMA
from zoneraster._store.manifest import PLAN_MARK as PLAN_MARK
from zoneraster._store.manifest import Manifest as Manifest
from zoneraster._store.manifest import PassingWriter as PassingWriter
from zoneraster._store.manifest import plan_digest as plan_digest
from zoneraster._store.parquet import table_bytes as table_bytes
from zoneraster._store.records import RECORD_SCHEMA as RECORD_SCHEMA
from zoneraster._store.records import Records as Records
from zoneraster._store.records import chunk_fingerprint as chunk_fingerprint
from zoneraster._store.sets import KNOWN_SETS_KEY as KNOWN_SETS_KEY
from zoneraster._store.sets import SETS_KEY as SETS_KEY
from zoneraster._store.sets import ZoneSets as ZoneSets
from zoneraster._store.sets import first_set_id as first_set_id
from zoneraster._store.sets import read_sets as read_sets
from zoneraster._store.snapshot import BatchChunk as BatchChunk
from zoneraster._store.snapshot import Snapshot as Snapshot
from zoneraster._store.snapshot import expected_receipts as expected_receipts
from zoneraster._store.snapshot import found_receipts as found_receipts
from zoneraster._store.snapshot import is_done as is_done
from zoneraster._store.snapshot import mending as mending
from zoneraster._store.snapshot import open_finished as open_finished
from zoneraster._store.snapshot import open_snapshot as open_snapshot
from zoneraster._store.snapshot import plan_is_whole as plan_is_whole
from zoneraster._store.snapshot import refuse_changed as refuse_changed
from zoneraster._store.snapshot import refuse_missing as refuse_missing
from zoneraster._store.snapshot import shared_snapshot as shared_snapshot
from zoneraster._store.snapshot import stray_chunks as stray_chunks
from zoneraster._store.snapshot import withdraw_unexpected as withdraw_unexpected
from zoneraster._store.spec import INDEX_KEY as INDEX_KEY
from zoneraster._store.spec import KEYS_KEY as KEYS_KEY
from zoneraster._store.spec import MANIFEST_KEY as MANIFEST_KEY
from zoneraster._store.spec import PLAN_KEY as PLAN_KEY
from zoneraster._store.spec import REBURNED as REBURNED
from zoneraster._store.spec import REPORT_KEY as REPORT_KEY
from zoneraster._store.spec import SPEC_KEY as SPEC_KEY
from zoneraster._store.spec import PixelRule as PixelRule
from zoneraster._store.spec import Spec as Spec
from zoneraster._store.spec import check_same as check_same
from zoneraster._store.spec import has_plan as has_plan
from zoneraster._store.spec import load_spec as load_spec
from zoneraster._store.spec import require_spec as require_spec
from zoneraster._store.zarr_meta import ARRAY as ARRAY
from zoneraster._store.zarr_meta import FOLDERS as FOLDERS
from zoneraster._store.zarr_meta import PRODUCTS as PRODUCTS
from zoneraster._store.zarr_meta import chunk_key as chunk_key
from zoneraster._store.zarr_meta import says_the_same as says_the_same
from zoneraster._store.zarr_meta import without_places as without_places
from zoneraster._store.zarr_meta import zarr_objects as zarr_objects
from zoneraster._store.zarr_view import zarr_view as zarr_view
from zoneraster._store.zone_table import CURE as CURE
from zoneraster._store.zone_table import PLANNED_KEY as PLANNED_KEY
from zoneraster._store.zone_table import TOGETHER_MARK as TOGETHER_MARK
from zoneraster._store.zone_table import ZONES_KEY as ZONES_KEY
from zoneraster._store.zone_table import asked_column as asked_column
from zoneraster._store.zone_table import changes_of_zones as changes_of_zones
from zoneraster._store.zone_table import close_zone_table as close_zone_table
from zoneraster._store.zone_table import counts_agree as counts_agree
from zoneraster._store.zone_table import find_zone_table as find_zone_table
from zoneraster._store.zone_table import geoparquet_metadata as geoparquet_metadata
from zoneraster._store.zone_table import groups_of_zones as groups_of_zones
from zoneraster._store.zone_table import make_zone_table as make_zone_table
from zoneraster._store.zone_table import one_of_each as one_of_each
from zoneraster._store.zone_table import planned_table as planned_table
from zoneraster._store.zone_table import planned_table_bytes as planned_table_bytes
from zoneraster._store.zone_table import read_zone_ids as read_zone_ids
from zoneraster._store.zone_table import read_zone_table as read_zone_table
from zoneraster._store.zone_table import require_zone_table as require_zone_table
from zoneraster._store.zone_table import sum_counts as sum_counts
