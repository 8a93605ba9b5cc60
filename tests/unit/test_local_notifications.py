"""`up` allows notifications to this machine only where no other user can submit a batch."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.local.stack import _Servers
from pipeline.net.notify_address import notify_refusal
from pipeline.settings import Settings, load


def settings_of_up(**configured: Any) -> Settings:
    """Return the settings of the service of an `up` with these settings of the user."""
    user = Settings(**configured)
    env: dict[str, str] = {"PIPELINE_NOTIFY_HOSTS": ",".join(user.notify_hosts)}
    _Servers(ExitStack(), Path(), user, env, []).allow_local_notifications()
    return load(env, Path("/none"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/hook", "http://localhost/hook", "http://[::1]:9000/hook"])
def test_an_up_of_its_own_servers_and_token_notifies_this_machine(url: str) -> None:
    assert notify_refusal(url, settings_of_up().notify_hosts) is None
    assert notify_refusal("http://10.0.0.5/hook", settings_of_up().notify_hosts)


@pytest.mark.parametrize(
    "configured",
    [
        {"output": "s3://shared/dailies/"},
        {"api_token": SecretStr("a token that others have")},
        {"notify_hosts": ("10.0.0.5:80",)},
    ],
)
def test_where_others_can_submit_or_hosts_are_named_it_adds_none(configured: dict[str, Any]) -> None:
    assert notify_refusal("http://127.0.0.1:9000/hook", settings_of_up(**configured).notify_hosts)
