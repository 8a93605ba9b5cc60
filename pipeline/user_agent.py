"""The User-Agent of every request that the service sends.

Web application firewalls are known to block the default agents of Python's HTTP libraries.
"""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    try:
        return version("dailies")
    except PackageNotFoundError:
        # The code runs from a folder, without an installation.
        return "0"


VERSION = _version()
USER_AGENT = f"dailies/{VERSION}"
