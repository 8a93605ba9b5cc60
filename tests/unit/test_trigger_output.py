"""A rule must not watch what the service writes."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pipeline.errors import InvalidTriggers
from pipeline.triggers.rule_loader import RuleLoader
from pipeline.triggers.schema import parse_triggers


@pytest.mark.parametrize("output", ["s3://bucket/faces/", "s3://bucket/faces"])
def test_a_rule_whose_output_is_its_watched_prefix_is_refused_with_its_line(output: str) -> None:
    rule = {"name": "faces", "source": "push", "watch": "s3://bucket/faces/", "start": "images", "prompts": ["smiles"]}
    text = "triggers:\n- " + json.dumps({**rule, "output": output})
    with pytest.raises(InvalidTriggers) as caught:
        parse_triggers(text.encode(), file="triggers.yaml")
    [problem] = caught.value.problems
    assert problem.line == 2
    assert "output must be another prefix than watch" in problem.message


def test_a_rule_that_watches_the_output_folder_of_the_service_is_logged(tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    file.write_text("triggers:\n- {name: inbox, source: listing, watch: 's3://bucket/out/', start: manifest}\n")
    with capture_logs() as logs:
        RuleLoader(file, "s3://bucket/out/").rules()
    [logged] = [log for log in logs if log["event"] == "trigger_watches_output"]
    assert (logged["trigger"], logged["watch"]) == ("inbox", "s3://bucket/out/")
