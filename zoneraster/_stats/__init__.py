"""Values by zone: from rasters and runs to the table.

`call` is the walk; `front` opens what it was given as zones (a store, polygons, labels), of which
`select` may choose; `request` and `inputs` are what is asked, `groups` which rows the table has;
`runs` gives zones as runs, `tiles` cuts the lattice into tasks and cells; `loop` runs tasks, `task`
reduces one of them with `blocks`, `bands`, `slots`, `cut`, `keys` and `where`. `families` count and
finish statistics: `moments` (count, sum, mean, variance), `order`, `classes`, `custom`. `partial`,
`checkpoint`, `audit` and `table` keep, check and show what was counted, `labelled` takes tables
elsewhere. `cells` gives the zones themselves, as rows for other engines.
"""

from zoneraster._stats.call import zonal_stats as zonal_stats
from zoneraster._stats.cells import cells as cells
from zoneraster._stats.families import STATISTICS as STATISTICS
from zoneraster._stats.families import Stat as Stat
from zoneraster._stats.keys import Key as Key
from zoneraster._stats.keys import labels as labels
from zoneraster._stats.keys import thresholds as thresholds
from zoneraster._stats.labelled import csv_metadata as csv_metadata
from zoneraster._stats.labelled import finite as finite
from zoneraster._stats.labelled import write_csv as write_csv
from zoneraster._stats.labelled import write_parquet as write_parquet
from zoneraster._stats.labelled import write_vectors as write_vectors
from zoneraster._stats.labelled import write_zarr as write_zarr
from zoneraster._stats.planes import ZoneRuns as ZoneRuns
from zoneraster._stats.runs import StoredZones as StoredZones
