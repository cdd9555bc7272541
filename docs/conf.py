from __future__ import annotations

from importlib.metadata import version as installed_version

project = "zoneraster"
author = "zoneraster developers"
copyright = "2026, zoneraster developers"
release = installed_version("zoneraster")
version = release

# No intersphinx: the build must work, and give the same pages, without a network.
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"zoneraster {release}"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the numpydoc sections state types, with shape and units
numpydoc_show_class_members = False

nitpicky = True
# Names of other projects have no page to point to; our own must.
nitpick_ignore_regex = [(r"py:.*", r"(?!zoneraster\b).*")]
autosummary_generate = False  # numpydoc loads it; it would look for pages in reStructuredText
