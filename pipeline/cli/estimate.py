"""`submit --dry-run`: the columns and items of a manifest and their estimated cost."""

from __future__ import annotations

from pipeline.batches.pricing import BatchEstimate
from pipeline.cli.terminal import console, print_json, print_table
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.results import money
from pipeline.manifest.loader import LoadedManifest


def show(loaded: LoadedManifest, estimate: BatchEstimate, output: str | None, *, as_json: bool) -> None:
    """Print the columns, the items and their cost. `output`: the default folder of outputs."""
    manifest = loaded.manifest
    output = manifest.output or output
    if as_json:
        _print_json(loaded, estimate, output)
        return
    out = console()
    if loaded.columns:
        columns = ((column.header or "(no name)", column.meaning) for column in loaded.columns)
        print_table(out, ("column", "means"), columns, whole=("column", "means"))
        out.print()
    items = ((item.id, item.image or "", item.prompt or "") for item in manifest.items)
    print_table(out, ("item", "image", "prompt"), items, whole=("item", "image"))
    out.print(f"{pluralize(len(manifest.items), 'item')} of {manifest.model} to {output}")
    out.print(f"{estimate}.")
    budget = manifest.limits.budget_usd
    if budget is not None and (estimate.high_usd or 0) > budget:
        may = "is" if (estimate.low_usd or 0) > budget else "may be"
        out.print(f"That {may} more than limits.budget_usd: the batch stops at {dollars(budget)}.")


def _print_json(loaded: LoadedManifest, estimate: BatchEstimate, output: str | None) -> None:
    manifest = loaded.manifest
    low, high, per_run = estimate.low_usd, estimate.high_usd, estimate.per_run_usd
    print_json(
        {
            "name": manifest.name,
            "model": manifest.model,
            "output": output,
            "total": len(manifest.items),
            "per_run_usd": None if per_run is None else money(per_run),
            "estimated_cost_usd": None if high is None else money(high),
            "low_usd": None if low is None else money(low),
            "high_usd": None if high is None else money(high),
            "reason": estimate.reason,
            "reused": len(estimate.reused),
            "saved_usd": money(estimate.saved_usd),
            "columns": [{"column": column.header, "means": column.meaning} for column in loaded.columns],
            "notes": list(loaded.notes),
            "items": [
                {
                    "id": item.id,
                    "image": item.image,
                    "prompt": item.prompt,
                    "low_usd": money(price.low_usd) if price else None,
                    "high_usd": money(price.high_usd) if price else None,
                }
                for item, price in zip(manifest.items, estimate.items, strict=True)
            ],
        }
    )
