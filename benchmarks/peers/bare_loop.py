"""The bare loop: 16 threads, the same Run, Detail, GET and PUT, without a queue or a record."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers import steps


def main(count: int, image: str) -> None:
    """Print items per second."""
    client = steps.s3()

    def one(number: int) -> None:
        token = steps.run(number, image)
        while (url := steps.detail(token)) is None:
            time.sleep(0.01)
        steps.put(f"bare/{number}.mp4", steps.get(url), client)

    one(-1)
    began = time.perf_counter()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(count)))
    print(count / (time.perf_counter() - began))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
