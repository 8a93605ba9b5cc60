"""Reuse of outputs through the commands, with workers in processes of their own."""

from __future__ import annotations

from pathlib import Path

from support.processes import ROOT, Up, a_manifest, results

from pipeline.sandbox.process_handle import Sandbox
from pipeline.storage.s3 import Storage


def test_of_four_items_three_of_which_were_bought_one_is_run(
    up: Up, sandbox: Sandbox, storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "face.jpg").write_bytes((ROOT / "config" / "samples" / "portrait.jpg").read_bytes())
    items = [{"id": f"i{n}", "image": "face.jpg", "prompt": f"p{n}"} for n in range(4)]
    first = up.run("submit", a_manifest(tmp_path, items[:3]), "--batch-id", "first", "--wait").splitlines()[-1]
    second = up.run("submit", a_manifest(tmp_path, items), "--reuse", "--batch-id", "second", "--wait").splitlines()[-1]
    status = up.status(second)
    assert (status["counts"], status["cost_usd"], status["reused"]) == ({"succeeded": 4}, "0.09", 3)
    assert len(sandbox.tasks()) == 4
    bought, rows = results(storage, up.status(first))["items"], results(storage, status)["items"]
    assert [row.get("reused_from") for row in rows] == ["first/i0", "first/i1", "first/i2", None]
    for row, original in zip(rows, bought, strict=False):
        assert storage.get(row["outputs"][0]["uri"]) == storage.get(original["outputs"][0]["uri"])
