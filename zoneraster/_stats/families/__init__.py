"""Families of statistics: what is counted in one loop over the pixels stands together.

`moments`, `order`, `classes`, `parts`, `weighted` and `custom` each have their kernel, accumulators
and the four steps of `base`; a statistic is one record in its family. `menu` turns names into
families, `units` tells which sums mean something, `rows` are columns of counted groups.
"""

from zoneraster._stats.families.base import Band as Band
from zoneraster._stats.families.base import Columns as Columns
from zoneraster._stats.families.base import Family as Family
from zoneraster._stats.families.base import Group as Group
from zoneraster._stats.families.base import Leaves as Leaves
from zoneraster._stats.families.base import Members as Members
from zoneraster._stats.families.base import Place as Place
from zoneraster._stats.families.base import Values as Values
from zoneraster._stats.families.custom import Stat as Stat
from zoneraster._stats.families.menu import DEFAULT as DEFAULT
from zoneraster._stats.families.menu import DEFAULT_WITH_WEIGHTS as DEFAULT_WITH_WEIGHTS
from zoneraster._stats.families.menu import DEFAULT_WITHOUT_VALUES as DEFAULT_WITHOUT_VALUES
from zoneraster._stats.families.menu import STATISTICS as STATISTICS
from zoneraster._stats.families.menu import WEIGHTED as WEIGHTED
from zoneraster._stats.families.menu import Wanted as Wanted
from zoneraster._stats.families.menu import kind_of as kind_of
from zoneraster._stats.families.menu import parse_stats as parse_stats
from zoneraster._stats.families.moments import OF_PIXELS as OF_PIXELS
from zoneraster._stats.families.rows import Lists as Lists
from zoneraster._stats.families.rows import Rows as Rows
from zoneraster._stats.families.rows import group_numbers as group_numbers
from zoneraster._stats.families.rows import join_rows as join_rows
from zoneraster._stats.families.rows import sorted_rows as sorted_rows
from zoneraster._stats.families.rows import take_rows as take_rows
from zoneraster._stats.families.units import AREA_UNITS as AREA_UNITS
from zoneraster._stats.families.units import check_totals as check_totals
from zoneraster._stats.families.units import check_units as check_units
from zoneraster._stats.families.units import name_with_unit as name_with_unit
from zoneraster._stats.families.units import rate_unit as rate_unit
from zoneraster._stats.families.units import unit_of as unit_of
