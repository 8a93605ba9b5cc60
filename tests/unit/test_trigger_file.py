"""triggers.yaml, which objects a rule is about, and the ids of batches."""

from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.errors import InvalidTriggers
from pipeline.triggers.listener import plans
from pipeline.triggers.object_manifest import of_images
from pipeline.triggers.object_version import ObjectVersion, batch_id
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.rule_loader import RuleLoader, load
from pipeline.triggers.rules import parse
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


def why_not(key: str, rule: Rule | None = None, outputs: tuple[str, ...] = ()) -> str | None:
    return (rule or a_rule()).why_not(ObjectVersion("films", key, "1"), outputs)


def test_the_rules_of_the_contract_are_read() -> None:
    inbox, queue, faces = parse(GOOD.encode(), file="triggers.yaml")
    assert (inbox.source, inbox.start, inbox.every_s) == (Source.LISTING, Start.MANIFEST, 10)
    assert (queue.source, queue.queue_url) == (Source.SQS, "https://sqs.eu-central-1.amazonaws.com/1/q")
    assert (faces.prompts, faces.output, faces.gather_s) == (("smiles",), "s3://bucket/out/", 30)


def test_a_rule_for_images_says_what_a_manifest_could_and_its_mistakes_are_told_like_a_manifests() -> None:
    rule = "  - {name: a, source: push, watch: s3://pics/a/, start: images, prompts: [smiles], "
    good = f"triggers:\n{rule}model: some/model, params: {{seed: 7}}, limits: {{budget_usd: 5.00, attempts: 2}}}}\n"
    (faces,) = parse(good.encode(), file="t.yaml")
    manifest = of_images(faces, ["s3://pics/a/1.jpg"])
    assert (manifest.model, manifest.params, manifest.limits.attempts) == ("some/model", {"seed": 7}, 2)
    assert manifest.limits.budget_usd == Decimal("5.00")
    bad = f"triggers:\n{rule}notify: nowhere,\n    limits: {{attempts: 0, budget: 5}}}}\n"
    with pytest.raises(InvalidTriggers) as caught:
        parse(bad.encode(), file="t.yaml")
    told = [(problem.line, problem.message.partition(":")[0]) for problem in caught.value.problems]
    assert [line for line, _ in told] == [2, 3, 3]
    assert told[0][1].startswith("notify")
    assert "limits.attempts must be at least 1" in told[1][1]
    assert told[2][1] == "unknown key 'budget' in limits"


def test_the_file_that_is_shipped_has_no_triggers() -> None:
    assert load(Path("config/triggers.yaml")) == ()


def test_a_missing_file_is_no_triggers(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml") == ()


def test_every_mistake_is_told_with_its_line() -> None:
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
        parse(text.encode(), file="t.yaml")
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    for line, word in [
        (2, "is no name"),
        (2, "s3://bucket/prefix/"),
        (2, "seconds"),
        (3, "'queue_url'"),
        (4, "'prompts'"),
        (5, "listing, sqs or push"),
        (5, "the name of two triggers"),
        (5, "start: images"),
        (5, "colour"),
        (6, "mapping"),
        (7, "more"),
    ]:
        assert any(at == line and word in message for at, message in told), (line, word, told)
    assert len(told) == 11


@pytest.mark.parametrize(
    "text", ["", "triggers:\n", "- 1\n", "triggers: {}\n", "triggers: []\ntriggers: []\n", "a: [\n"]
)
def test_what_is_no_list_of_triggers_is_refused(text: str) -> None:
    with pytest.raises(InvalidTriggers):
        parse(text.encode(), file="t.yaml")


def test_an_edit_takes_effect_and_a_broken_one_leaves_the_last_good_rules(tmp_path: Path) -> None:
    file = tmp_path / "triggers.yaml"
    book = RuleLoader(file)
    assert book.rules() == ()
    file.write_text(GOOD)
    assert [rule.name for rule in book.rules()] == ["inbox", "queue", "faces"]
    file.write_text("triggers: [{name: x}]\n")
    assert len(book.rules()) == 3
    file.unlink()
    assert len(book.rules()) == 3
    file.write_text("triggers: []\n# none any more\n")
    assert book.rules() == ()


@pytest.mark.parametrize("key", ["inbox/a.yaml", "inbox/a b/c.YML", "inbox/x.json", "inbox/rows.csv", "inbox/r.jsonl"])
def test_manifests_and_rows_are_taken(key: str) -> None:
    assert why_not(key) is None


@pytest.mark.parametrize(
    "key", ["inbox/", "inbox/new/", "inbox/a.yaml.status.json", "inbox/_defaults.yaml", "inbox/a.txt", "inbox/yaml"]
)
def test_folders_statuses_defaults_and_other_files_are_not(key: str) -> None:
    assert why_not(key)


def test_images_are_taken_where_images_are_wanted() -> None:
    rule = a_rule(Start.IMAGES)
    assert why_not("inbox/a.JPG", rule) is None
    assert why_not("inbox/a.yaml", rule)


def test_where_outputs_are_written_nothing_starts() -> None:
    rule = a_rule(Start.IMAGES, "s3://films/")
    assert why_not("out/b/items/x/1.png", rule, ("s3://films/out/",))
    assert why_not("faces/1.png", rule, ("s3://films/out/",)) is None
    assert why_not("inbox/1.png", a_rule(Start.IMAGES), ("s3://films/",)) is None


def test_a_batch_id_tells_bucket_key_and_version_and_nothing_else() -> None:
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
    assert all(len(one) == len("t-") + 12 for one in ids)
    assert batch_id("t", [ObjectVersion("a", "k", "1")]) == batch_id("t", [ObjectVersion("a", "k", "1")])


def test_the_id_of_a_gathered_batch_does_not_depend_on_the_order() -> None:
    drops = [ObjectVersion("a", str(n), "1") for n in range(3)]
    assert batch_id("t", drops) == batch_id("t", drops[::-1]) != batch_id("t", drops[:2])


def test_rules_of_one_queue_share_a_thread_and_gathering_has_its_own() -> None:
    rules = parse(GOOD.encode(), file="t") + parse(GOOD.replace("name: ", "name: more-").encode(), file="t")
    shared = [sharing for _, sharing in plans(rules) if len(sharing) > 1]
    assert [[rule.name for rule in sharing] for sharing in shared] == [["queue", "more-queue"]]
    assert len(plans(rules)) == 5


def test_the_region_is_read_from_the_queue() -> None:
    assert region_of("https://sqs.eu-central-1.amazonaws.com/123456789012/q") == "eu-central-1"
    assert region_of("http://127.0.0.1:9324/000000000000/q") is None
