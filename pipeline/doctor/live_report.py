"""The report of `doctor --live`: a Markdown page without secrets, ids and URLs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pipeline.doctor.findings import Finding, Severity
from pipeline.user_agent import USER_AGENT

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s|`)\]}>\"']+")
_MIN_SECRET_CHARS = 6
_RESULTS = {Severity.OK: "as assumed", Severity.NOTE: "**note**", Severity.WRONG: "**problem**"}


class Redactor:
    """Removes known texts and every URL from findings."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = {secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS}
        self._ids: set[str] = set()

    def add(self, *texts: str) -> None:
        """Remove these ids and tokens too, wherever one stands alone."""
        self._ids |= {text for text in texts if text}

    def redact(self, finding: Finding) -> Finding:
        """Return the finding without these texts."""
        return replace(finding, message=self._clean(finding.message), fix=self._clean(finding.fix))

    def _clean(self, text: str) -> str:
        text = _URL.sub("(URL)", text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "(secret)")
        for name in sorted(self._ids, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "(id)", text)
        return text


def report_name(now: datetime) -> str:
    """Return the name of the file for a report that is written at `now`."""
    return f"dailies-live-report-{now.astimezone(UTC):%Y%m%dT%H%MZ}.md"


def markdown(model: str, findings: Sequence[Finding], now: datetime) -> str:
    """Return the page. The findings are redacted already."""
    rows = [
        f"| {_RESULTS[finding.severity]} | {_cell(finding.subject)} | {_cell(finding.message)} | {_cell(finding.fix)} |"
        for finding in findings
    ]
    return "\n".join(
        [
            "# One run at the vendor, observed",
            "",
            f"{USER_AGENT}, model `{model}`, {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
            "Written by `dailies doctor --live`. It contains no secrets, tokens, ids and URLs.",
            "",
            "| result | assumption | seen | what to change |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
