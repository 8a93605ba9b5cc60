"""`make bench` and `make bench-quick`: print each figure beside a peer's in the same run. No pass or fail."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
from contextlib import nullcontext

from benchmarks.environment import shared

PARTS = ["throughput", "cpu", "latency", "idle", "receiver", "scale", "pending", "workers", "outputs"]


def main() -> None:
    """Run the named parts, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one smaller run, less than two minutes")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    with shared() if options.quick else nullcontext():
        for part in options.parts or PARTS:
            started = time.monotonic()
            importlib.import_module(f"benchmarks.{part}").main(options.quick)
            print(f"  [{part}: {time.monotonic() - started:.0f} s]", flush=True)
    print(f"Load average at the end: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


if __name__ == "__main__":
    main()
