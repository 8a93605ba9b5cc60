"""triggers.yaml, which objects a rule accepts, and batch ids."""

from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.domain.model import Limits
from pipeline.errors import InvalidTriggers
from pipeline.triggers.listener import thread_plans
from pipeline.triggers.object_manifest import images_manifest
from pipeline.triggers.object_version import ObjectVersion, batch_id
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.rule_loader import RuleLoader, load
from pipeline.triggers.schema import parse_triggers
from pipeline.triggers.sqs import region_of

GOOD = """\
triggers:
  - {name: inbox, source: listing, watch: s3://bucket/inbox/, start: manifest, every_s: 10}
  - {name: queue, source: sqs, queue_url: "https://sqs.eu-central-1.amazonaws.com/1/q", watch: s3://bucket/inbox/,
     start: manifest}
  - {name: faces, source: push, watch: s3://bucket/faces/, start: images, prompts: ["smiles"],
     output: s3://bucket/out, gather_s: 30}
"""


def a_rule(start: Start = Start.MANIFEST, watch: str = "s3://films/inbox/") -> Rule:
    return Rule("inbox", Source.LISTING, watch, start, prompts=("smiles",))


def reason_to_ignore(key: str, rule: Rule | None = None, outputs: tuple[str, ...] = ()) -> str | None:
    return (rule or a_rule()).reason_to_ignore(ObjectVersion("films", key, "1"), outputs)


def test_the_rules_of_the_documentation_are_valid() -> None:
    inbox, queue, faces = parse_triggers(GOOD.encode(), file="triggers.yaml")
    assert (inbox.source, inbox.start, inbox.every_s) == (Source.LISTING, Start.MANIFEST, 10)
    assert (queue.source, queue.queue_url) == (Source.SQS, "https://sqs.eu-central-1.amazonaws.com/1/q")
    assert (faces.prompts, faces.output, faces.gather_s) == (("smiles",), "s3://bucket/out/", 30)


def test_manifest_keys_of_a_rule_for_images_are_validated_like_a_manifest() -> None:
    rule = "  - {name: a, source: push, watch: s3://pics/a/, start: images, prompts: [smiles], "
    good = f"triggers:\n{rule}model: some/model, params: {{seed: 7}}, limits: {{budget_usd: 5.00, attempts: 2}}}}\n"
    (faces,) = parse_triggers(good.encode(), file="t.yaml")
    manifest = images_manifest(faces, ["s3://pics/a/1.jpg"])
    assert (manifest.model, manifest.params, manifest.limits.attempts) == ("some/model", {"seed": 7}, 2)
    assert manifest.limits.budget_usd == Decimal("5.00")
    bad = f"triggers:\n{rule}notify: nowhere,\n    limits: {{attempts: 0, budget: 5}}}}\n"
    with pytest.raises(InvalidTriggers) as caught:
        parse_triggers(bad.encode(), file="t.yaml")
    reported = [(problem.line, problem.message.partition(":")[0]) for problem in caught.value.problems]
    assert [line for line, _ in reported] == [2, 3, 3]
    assert reported[0][1].startswith("notify")
    assert "limits.attempts must be at least 1" in reported[1][1]
    assert reported[2][1] == "unknown key 'budget' in limits"


def test_a_rule_for_manifests_has_ceilings_and_a_limit_of_batches_per_day() -> None:
    rule = "triggers:\n  - {name: a, source: push, watch: s3://pics/a/, start: manifest"
    (inbox,) = parse_triggers(f"{rule}}}\n".encode(), file="t.yaml")
    assert (inbox.limits, inbox.batches_per_day) == (None, 1000)
    (inbox,) = parse_triggers(f"{rule}, limits: {{budget_usd: 5.00}}, batches_per_day: 7}}\n".encode(), file="t.yaml")
    assert inbox.limits == Limits(budget_usd=Decimal("5.00"), attempts=20), "attempts are not limited"
    assert inbox.batches_per_day == 7
    for wrong in ("0", "100001", "many", "1.5"):
        with pytest.raises(InvalidTriggers, match="batches_per_day must be"):
            parse_triggers(f"{rule}, batches_per_day: {wrong}}}\n".encode(), file="t.yaml")


@pytest.mark.parametrize("bucket", ["ab", "a" * 64, "-ab"])
def test_a_bucket_name_has_3_to_63_characters(bucket: str) -> None:
    text = "triggers:\n  - {name: a, source: listing, watch: 's3://BUCKET/in/', start: manifest}\n"
    for good in ("abc", "a" * 63):
        assert parse_triggers(text.replace("BUCKET", good).encode(), file="t.yaml")[0].bucket == good
    with pytest.raises(InvalidTriggers, match="must be s3://bucket/prefix/"):
        parse_triggers(text.replace("BUCKET", bucket).encode(), file="t.yaml")


def test_the_shipped_file_has_no_triggers() -> None:
    assert load(Path("config/triggers.yaml")) == ()


def test_a_missing_file_has_no_triggers(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml") == ()


def test_every_problem_of_triggers_is_reported_with_its_line() -> None:
    text = """\
triggers:
  - {name: Inbox, source: listing, watch: bucket/inbox, start: manifest, every_s: 0}
  - {name: queue, source: sqs, watch: s3://bucket/inbox/, start: manifest}
  - {name: faces, source: push, watch: s3://bucket/faces/, start: images}
  - {name: queue, source: mail, watch: s3://bucket/x/, start: manifest, prompts: [a], colour: red}
  - 7
more: 1
"""
    with pytest.raises(InvalidTriggers) as caught:
        parse_triggers(text.encode(), file="t.yaml")
    reported = [(problem.line, problem.message) for problem in caught.value.problems]
    for line, text in [
        (2, "lower-case letters"),
        (2, "s3://bucket/prefix/"),
        (2, "every_s must be at least 1"),
        (3, "queue_url is missing"),
        (4, "prompts is missing"),
        (5, "'listing', 'sqs' or 'push'"),
        (5, "two triggers are named 'queue'"),
        (5, "start: images"),
        (5, "colour"),
        (6, "mapping"),
        (7, "more"),
    ]:
        assert any(at == line and text in message for at, message in reported), (line, text, reported)
    assert len(reported) == 11


@pytest.mark.parametrize(
    "text", ["", "triggers:\n", "- 1\n", "triggers: {}\n", "triggers: []\ntriggers: []\n", "a: [\n"]
)
def test_a_file_that_is_not_a_list_of_triggers_is_refused(text: str) -> None:
    with pytest.raises(InvalidTriggers):
        parse_triggers(text.encode(), file="t.yaml")


def test_an_edit_takes_effect_and_an_invalid_one_keeps_the_last_valid_rules(tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    loader = RuleLoader(file)
    assert loader.rules() == ()
    file.write_text(GOOD)
    assert [rule.name for rule in loader.rules()] == ["inbox", "queue", "faces"]
    file.write_text("triggers: [{name: x}]\n")
    assert len(loader.rules()) == 3
    file.unlink()
    assert len(loader.rules()) == 3
    file.write_text("triggers: []\n# none left\n")
    assert loader.rules() == ()


@pytest.mark.parametrize("key", ["inbox/a.yaml", "inbox/a b/c.YML", "inbox/x.json", "inbox/rows.csv", "inbox/r.jsonl"])
def test_manifests_and_rows_are_accepted(key: str) -> None:
    assert reason_to_ignore(key) is None


@pytest.mark.parametrize(
    "key", ["inbox/", "inbox/new/", "inbox/a.yaml.status.json", "inbox/_defaults.yaml", "inbox/a.txt", "inbox/yaml"]
)
def test_folders_status_files_defaults_and_other_files_are_ignored(key: str) -> None:
    assert reason_to_ignore(key)


def test_images_are_accepted_by_a_rule_for_images() -> None:
    rule = a_rule(Start.IMAGES)
    assert reason_to_ignore("inbox/a.JPG", rule) is None
    assert reason_to_ignore("inbox/a.yaml", rule)


@pytest.mark.parametrize(
    "name",
    [
        "._face.jpg", "~$face.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "face.jpg.part", "face.jpg.crdownload",
        "face.tmp", "._a.yaml", "__MACOSX/face.jpg", "x/__MACOSX/y/a.yaml",
    ],
)  # fmt: skip
def test_files_that_systems_make_are_passed_over(name: str) -> None:
    for rule in (a_rule(Start.IMAGES), a_rule()):
        assert reason_to_ignore(f"inbox/{name}", rule) == "a system or a program made it"


def test_photos_that_the_vendor_does_not_take_are_not_passed_over() -> None:
    assert reason_to_ignore("inbox/IMG_1234.HEIC", a_rule(Start.IMAGES)) is None
    assert reason_to_ignore("inbox/notes.txt", a_rule(Start.IMAGES))


def test_objects_in_the_output_folder_are_ignored() -> None:
    rule = a_rule(Start.IMAGES, "s3://films/")
    assert reason_to_ignore("out/b/items/x/1.png", rule, ("s3://films/out/",))
    assert reason_to_ignore("faces/1.png", rule, ("s3://films/out/",)) is None
    assert reason_to_ignore("inbox/1.png", a_rule(Start.IMAGES), ("s3://films/",)) is None


def test_a_batch_id_depends_only_on_bucket_key_and_version() -> None:
    ids = {
        batch_id("t", [ObjectVersion(bucket, key, version)])
        for bucket, key, version in [
            ("a", "k", "1"),
            ("b", "k", "1"),
            ("a", "l", "1"),
            ("a", "k", "2"),
            ("a", "k1", ""),
        ]
    }
    assert len(ids) == 5
    assert all(len(batch) == len("t-") + 12 for batch in ids)
    assert batch_id("t", [ObjectVersion("a", "k", "1")]) == batch_id("t", [ObjectVersion("a", "k", "1")])


def test_the_id_of_a_gathered_batch_does_not_depend_on_the_order() -> None:
    versions = [ObjectVersion("a", str(n), "1") for n in range(3)]
    assert batch_id("t", versions) == batch_id("t", versions[::-1]) != batch_id("t", versions[:2])


def test_rules_of_one_queue_share_a_thread_and_gathering_has_its_own() -> None:
    rules = parse_triggers(GOOD.encode(), file="t") + parse_triggers(
        GOOD.replace("name: ", "name: more-").encode(), file="t"
    )
    shared = [sharing for _, sharing in thread_plans(rules) if len(sharing) > 1]
    assert [[rule.name for rule in sharing] for sharing in shared] == [["queue", "more-queue"]]
    assert len(thread_plans(rules)) == 5


def test_the_region_is_read_from_the_queue_url() -> None:
    assert region_of("https://sqs.eu-central-1.amazonaws.com/123456789012/q") == "eu-central-1"
    assert region_of("http://127.0.0.1:9324/000000000000/q") is None


def test_a_key_that_leads_out_of_the_watched_prefix_is_not_covered() -> None:
    rule = a_rule()
    assert rule.covers(f"{rule.watch}a.yaml")
    for key in ("../private/a.yaml", "./../private/a.yaml", "x/../../private/a.yaml", ".."):
        assert not rule.covers(f"{rule.watch}{key}")
