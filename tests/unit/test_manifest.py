from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import manifest as manifests
from pipeline.errors import InvalidManifest
from pipeline.model import Manifest


def parse(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> Manifest:
    data = text.encode() if isinstance(text, str) else text
    return manifests.parse(data, file="m.yaml", read_rows=(rows or {}).__getitem__, local_files=folder)


def mistakes(text: str | bytes, rows: dict[str, bytes] | None = None, folder: Path | None = None) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parse(text, rows, folder)
    return [str(problem) for problem in caught.value.problems]


WRONG = """\
version: 2
name: LA Street
model: hailuo
prams: {}
limits: {max_active: 0, budget_usd: -1, attempts: 99, tolerated_failures: some, deadline: 2 hours}
notify: http://example.com/hook
params:
  projectid: 5
items:
  - {id: a, image: https://e.com/1.jpg, prompt: "x"}
  - {id: ../b, image: ftp://e.com/1.jpg, prompt: "x"}
  - id: a
    imge: https://e.com/1.jpg
    prompt: x
    params:
      seed: .nan
      callbackUrl: y
  - {id: c, params: {a: 1}}
  - just text
  - {id: d, id: e, image: "https://u:p@e.com/", prompt: "\\x07"}
"""


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    assert [message[:40] for message in mistakes(WRONG)] == [
        "m.yaml:1:10: version must be 1, the only",
        "m.yaml:2:7: name must be 1 to 63 lower-c",
        "m.yaml:3:8: model must be owner/model, a",
        "m.yaml:4:1: unknown key 'prams': did you",
        "m.yaml:5:22: limits.max_active must be a",
        "m.yaml:5:37: limits.budget_usd must be U",
        "m.yaml:5:51: limits.attempts must be at ",
        "m.yaml:5:75: limits.tolerated_failures m",
        "m.yaml:5:91: limits.deadline must be a t",
        "m.yaml:6:9: notify must be https:// (htt",
        "m.yaml:8:3: params.projectid cannot be a",
        "m.yaml:11:10: id must be up to 128 lette",
        "m.yaml:11:23: image must be an https:// ",
        "m.yaml:12:9: the id 'a' is taken by m.ya",
        "m.yaml:13:5: unknown key 'imge': did you",
        "m.yaml:16:13: '.nan' is a number that ca",
        "m.yaml:17:7: params.callbackUrl cannot b",
        "m.yaml:18:5: this needs an image, a prom",
        "m.yaml:19:5: this must be a mapping (key",
        "m.yaml:20:13: 'id' is here twice: keep o",
        "m.yaml:20:27: image must be an address w",
        "m.yaml:20:57: text has no control charac",
    ]
