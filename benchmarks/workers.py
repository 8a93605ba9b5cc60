"""Items per second by number of workers, with a vendor that thinks for half a second before it answers a Run."""

from __future__ import annotations

import os
import time

from benchmarks.environment import dailies, surroundings
from benchmarks.processes import cpu_s, machine_cpu_s
from benchmarks.throughput import ours

RUN_S = 0.5


def main(quick: bool) -> None:
    """Print the figures."""
    share = 50 if quick else 400
    print(f"\nWorkers, a Run is answered after {RUN_S} s")
    one = 0.0
    with surroundings(empty=True, task_s=0.2, run_s=RUN_S) as around:
        for workers in (1, 4) if quick else (1, 2, 4):
            with dailies(around, workers=workers) as up:
                ours(around, 20 * workers, f"warm-{workers}")
                workers_at_work = up.pids("rq worker")
                own, everybody, began = cpu_s(workers_at_work), machine_cpu_s(), time.perf_counter()
                speed = ours(around, share * workers, f"batch-{workers}")
                took = time.perf_counter() - began
                own, everybody = cpu_s(workers_at_work) - own, machine_cpu_s() - everybody
            one = one or speed
            line = f"  {workers} worker{'s' * (workers > 1)}: {speed:6.1f} items/s, {speed / one:.2f} x"
            line += f"; CPU of the workers {100 * own / took:.0f} %, of all programs {100 * everybody / took:.0f} %"
            line += f" of {100 * (os.cpu_count() or 1)} %"
            if workers == 1:
                line += f"; at most {around.sandbox.stats()['most_in_air']} Runs in the air at once"
            print(line, flush=True)
