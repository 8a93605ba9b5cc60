"""`submit --dry-run`: what a manifest would do and cost."""

from __future__ import annotations

from decimal import Decimal

from pipeline.cli.terminal import console, print_json, print_table
from pipeline.domain.formatting import dollars, pluralize
from pipeline.domain.model import Manifest
from pipeline.domain.results import money
from pipeline.errors import DailiesError
from pipeline.settings import Settings
from pipeline.wiro.client import Wiro


def show(manifest: Manifest, settings: Settings, *, as_json: bool) -> None:
    """Print the items and the estimated cost. The vendor is asked for the model's price, nothing else."""
    price, trouble = _price(settings, manifest.model)
    total = None if price is None else price * len(manifest.items)
    if as_json:
        print_json(
            {
                "name": manifest.name,
                "model": manifest.model,
                "output": manifest.output or settings.output,
                "total": len(manifest.items),
                "per_run_usd": None if price is None else money(price),
                "estimated_cost_usd": None if total is None else money(total),
                "items": [{"id": item.id, "image": item.image, "prompt": item.prompt} for item in manifest.items],
            }
        )
        return
    out = console()
    print_table(
        out, ("item", "image", "prompt"), ((item.id, item.image or "", item.prompt or "") for item in manifest.items)
    )
    out.print(f"{pluralize(len(manifest.items), 'item')} of {manifest.model} to {manifest.output or settings.output}")
    if price is None or total is None:
        out.print(f"The cost is not known: {trouble}")
        return
    out.print(f"Estimated cost: {dollars(total)}, at {dollars(price)} a run")
    budget = manifest.limits.budget_usd
    if budget is not None and total > budget:
        out.print(f"That is more than limits.budget_usd: the batch stops at {dollars(budget)}.")


def _price(settings: Settings, model: str) -> tuple[Decimal | None, str]:
    try:
        price = Wiro.from_settings(settings).model_schema(model).per_run_usd
    except DailiesError as error:
        return None, str(error)
    return price, "" if price is not None else "the vendor does not charge this model by the run."
