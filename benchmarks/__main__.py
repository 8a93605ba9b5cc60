"""`make bench` and `make bench-quick`: every figure with its peer's in the same run. They print; they judge nothing."""

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
    """Run the parts named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="once and smaller, under two minutes")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    options = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    with shared() if options.quick else nullcontext():
        for part in options.parts or PARTS:
            began = time.monotonic()
            importlib.import_module(f"benchmarks.{part}").main(options.quick)
            print(f"  [{part}: {time.monotonic() - began:.0f} s]", flush=True)
    print(f"Load average at the end: {' '.join(f'{load:.1f}' for load in os.getloadavg())}")


if __name__ == "__main__":
    main()
