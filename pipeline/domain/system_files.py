"""Names of files that systems and programs make beside those of a person. Pure."""

from __future__ import annotations

import re

SYSTEM_FILE = (
    r"(^|/)(\._[^/]*|~\$[^/]*|\.~lock\.[^/]*#|\.ds_store|thumbs\.db|desktop\.ini"
    r"|[^/]*\.(part|crdownload|tmp)|__macosx/.*)$"
)
"""AppleDouble files of macOS and their folder in archives, lock files of Office programs, caches of file managers,
downloads that are not complete. In the syntax that Python and JavaScript have in common, without case."""
ADVICE = "systems and programs make files of this name. Name another file"
_IS_SYSTEM_FILE = re.compile(SYSTEM_FILE, re.IGNORECASE | re.DOTALL)


def is_system_file(path: str) -> bool:
    """Return whether a person did not make a file of this name. `path`: with `/`, below what the person named."""
    return _IS_SYSTEM_FILE.search(path) is not None
