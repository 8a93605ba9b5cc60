"""Where the items of a manifest are written: for problems that are found after the manifest was parsed. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.errors import Problem
from pipeline.manifest.rows import Rows
from pipeline.manifest.yaml.document import Document, PathProblem, in_order
from pipeline.manifest.yaml.positions import Path


@dataclass(frozen=True)
class ItemPositions:
    """The origins of a manifest's items, in their order: `items:`, `matrix:`, then rows."""

    document: Document
    listed: int
    """How many items `items:` has."""
    images: int
    """How many images `matrix:` has, each with every one of its `prompts`."""
    prompts: int
    rows: Rows

    def locate(self, problems: Iterable[PathProblem]) -> list[Problem]:
        """Return the problems with their positions, in the order of the text and then of the rows.

        A path begins with the index of an item in `Manifest.items`, such as (3, "image"). Items of a matrix share
        their values, so that a problem of a value is returned once.
        """
        in_manifest: list[PathProblem] = []
        in_rows: list[PathProblem] = []
        first_row = self.listed + self.images * self.prompts
        for problem in problems:
            index, *steps = problem.path
            if int(index) >= first_row:
                in_rows.append(replace(problem, path=(int(index) - first_row, *steps)))
            else:
                in_manifest.append(replace(problem, path=self._path(int(index), tuple(steps))))
        located = [*in_order(self.document.locate(in_manifest)), *in_order(self.rows.locate(in_rows))]
        return list(dict.fromkeys(located))

    def _path(self, index: int, steps: Path) -> Path:
        """Return the path in the manifest of a value of an item."""
        if index < self.listed:
            return ("items", index, *steps)
        image, prompt = divmod(index - self.listed, self.prompts)
        if steps == ("image",):
            return ("matrix", "images", image)
        return ("matrix", "prompts", prompt) if steps == ("prompt",) else ("matrix",)
