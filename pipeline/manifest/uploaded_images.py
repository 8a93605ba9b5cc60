"""Image files that were uploaded before their manifest, which names them as files. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from pipeline.manifest.yaml.decoder import shown

_MAX_PATH = 1024


class UploadedImages:
    """Finds uploaded images for the paths in one manifest.

    `uris`: the address of each image by the name of its file. Of a path the last part is compared, without case, and in
    the normal form of Unicode: macOS writes ü as two characters.
    """

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._uris = {_key(name): uri for name, uri in uris.items()}
        self._paths: dict[str, str] = {}
        self.missing: dict[str, None] = {}
        """The paths that were looked up and are not uploaded, in their order."""

    def find(self, path: str) -> str:
        """Return the address of an image, its path if it is not uploaded. Raises ValueError."""
        if len(path) > _MAX_PATH or not path.isprintable():
            raise ValueError("is not the name of a file")
        key = _key(path)
        other = self._paths.setdefault(key, path)
        if other != path:
            # A wrong image would be paid for.
            raise ValueError(f"must be a file with a name of its own: {shown(path)} and {shown(other)} have the same")
        uri = self._uris.get(key)
        if uri is None:
            self.missing[path] = None
        return uri or path


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", re.split(r"[/\\]", path)[-1]).casefold()
