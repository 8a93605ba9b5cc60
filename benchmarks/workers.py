"""Items per second by number of workers, with a vendor whose response to a Run takes 0.5 s."""

from __future__ import annotations

import os
import time

from benchmarks.environment import dailies, running_servers
from benchmarks.processes import cpu_s, machine_cpu_s
from benchmarks.throughput import ours

RUN_S = 0.5


def main(quick: bool) -> None:
    """Print the figures."""
    share = 50 if quick else 400
    print(f"\nWorkers, the response to a Run takes {RUN_S} s")
    one = 0.0
    with running_servers(empty=True, task_s=0.2, run_s=RUN_S) as servers:
        for workers in (1, 4) if quick else (1, 2, 4):
            with dailies(servers, workers=workers) as up:
                ours(servers, 20 * workers, f"warm-{workers}")
                worker_pids = up.pids("rq worker")
                own, machine, started = cpu_s(worker_pids), machine_cpu_s(), time.perf_counter()
                speed = ours(servers, share * workers, f"batch-{workers}")
                took = time.perf_counter() - started
                own, machine = cpu_s(worker_pids) - own, machine_cpu_s() - machine
            one = one or speed
            line = f"  {workers} worker{'s' * (workers > 1)}: {speed:6.1f} items/s, {speed / one:.2f} x"
            line += f"; CPU of the workers {100 * own / took:.0f} %, of all programs {100 * machine / took:.0f} %"
            line += f" of {100 * (os.cpu_count() or 1)} %"
            if workers == 1:
                line += f"; at most {servers.sandbox.stats()['max_concurrent_runs']} concurrent Runs"
            print(line, flush=True)
