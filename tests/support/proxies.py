"""Find nginx and HAProxy: `program` for the tests, `python tests/support/proxies.py` to get Debian's packages.

The packages are unpacked in .cache/proxies, not installed: that needs no root and starts no server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("nginx", "haproxy")
MISSING = "nginx and HAProxy are missing. Debian: apt-get install nginx haproxy"
_CACHE = Path(__file__).parents[2] / ".cache" / "proxies"
_TIMEOUT_S = 600


def program(name: str) -> str | None:
    """Return the path of a program that is installed or unpacked; None if there is none."""
    path = os.pathsep.join(
        [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", str(_CACHE / "usr/sbin")]
    )
    return shutil.which(name, path=path)


def environment() -> dict[str, str]:
    """Return the environment in which an unpacked program finds its libraries."""
    libraries = [*_CACHE.glob("usr/lib/*-linux-gnu*"), *_CACHE.glob("lib/*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}


def main() -> None:
    """Get the missing programs. Print one line if that fails; the tests of the proxies are then skipped."""
    if all(map(program, PROGRAMS)):
        return
    try:
        try:
            _unpack()
        except subprocess.SubprocessError:
            # The lists of packages are missing or old.
            _run("apt-get", "update", "-qq")
            _unpack()
    except (OSError, subprocess.SubprocessError) as error:
        print(f"The tests of the proxies are skipped. {MISSING} ({error})", file=sys.stderr)


def _unpack() -> None:
    """Download and unpack the packages that an installation would add."""
    plan = _run("apt-get", "install", "--simulate", "-qq", "--no-install-recommends", *PROGRAMS)
    packages = re.findall(r"^Inst (\S+)", plan, re.M)
    folder = _CACHE / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    # apt-get verifies the signature of the archive and the hash of each package.
    _run("apt-get", "download", "-qq", *packages, folder=folder)
    for package in folder.glob("*.deb"):
        _run("dpkg", "-x", str(package), str(_CACHE))


def _run(*command: str, folder: Path | None = None) -> str:
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    return completed.stdout


if __name__ == "__main__":
    main()
