"""`submit --dry-run`: the items of a manifest and their estimated cost."""

from __future__ import annotations

from decimal import Decimal

from pipeline.batches.pricing import price_of_run
from pipeline.cli.terminal import console, print_json, print_table
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import Manifest
from pipeline.domain.results import money
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro


def show(manifest: Manifest, settings: Settings, *, as_json: bool) -> None:
    """Print the items and the estimated cost. The only request to the vendor reads the model's price."""
    price = price_of_run(Wiro.from_settings(settings), manifest.model)
    output = manifest.output or settings.output
    if as_json:
        _print_json(manifest, output, price.usd)
        return
    out = console()
    print_table(
        out, ("item", "image", "prompt"), ((item.id, item.image or "", item.prompt or "") for item in manifest.items)
    )
    out.print(f"{pluralize(len(manifest.items), 'item')} of {manifest.model} to {output}")
    if price.usd is None:
        out.print(f"The cost is unknown: {price.error or 'the vendor gives no price per run of this model.'}")
        return
    total = price.usd * len(manifest.items)
    out.print(f"Estimated cost: {dollars(total)}, at {dollars(price.usd)} per run")
    budget = manifest.limits.budget_usd
    if budget is not None and total > budget:
        out.print(f"That is more than limits.budget_usd: the batch stops at {dollars(budget)}.")


def _print_json(manifest: Manifest, output: str | None, per_run: Decimal | None) -> None:
    print_json(
        {
            "name": manifest.name,
            "model": manifest.model,
            "output": output,
            "total": len(manifest.items),
            "per_run_usd": None if per_run is None else money(per_run),
            "estimated_cost_usd": None if per_run is None else money(per_run * len(manifest.items)),
            "items": [{"id": item.id, "image": item.image, "prompt": item.prompt} for item in manifest.items],
        }
    )
