"""Pages that were built need nothing from elsewhere: python docs/check_pages.py HTML_FOLDER."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# What a browser fetches by itself; links are for readers.
FETCHED = re.compile(r'<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]*)"')


def fetched(folder: Path) -> list[str]:
    """What pages would fetch from other places, each with its page."""
    return [
        f"{page.relative_to(folder)}: {url}"
        for page in sorted(folder.rglob("*.html"))
        for url in FETCHED.findall(page.read_text())
    ]


if __name__ == "__main__":
    found = fetched(Path(sys.argv[1]))
    print("\n".join(found) or "pages need nothing from elsewhere")
    sys.exit(bool(found))
