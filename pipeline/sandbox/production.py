"""Make the outputs of a task: a video of its image, arbitrary bytes, or text."""

from __future__ import annotations

from pipeline.sandbox.media_cache import MediaCache
from pipeline.sandbox.models import Model
from pipeline.sandbox.options import Options
from pipeline.sandbox.pricing import outputs_wanted
from pipeline.sandbox.tasks import Product, Task


async def produce(task: Task, model: Model, options: Options, media_cache: MediaCache) -> tuple[Product, ...]:
    """Return the outputs of a task; none if it fails. Raises BadImage if its image is missing or unreadable."""
    if model.answers_in_text:
        return (Product("0.txt", "raw", text=f"You said: {task.prompt}"),)
    count = outputs_wanted(model, task.params)
    if options.output_bytes:
        return tuple(Product(f"{n}.mp4", "video/mp4", options.output_bytes, noise=True) for n in range(count))
    task.image = await media_cache.download(task.image)
    if task.fault_plan.fails:
        return ()
    video = await media_cache.video(task.image.sha256, task.prompt)
    return tuple(Product(f"{n}.mp4", "video/mp4", len(video)) for n in range(count))
