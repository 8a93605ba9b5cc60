"""A watched prefix on the S3 server and its dispatcher."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote_plus

from pipeline.batches.service import Service
from pipeline.settings import Settings
from pipeline.storage.s3 import Storage, split
from pipeline.triggers.dispatch import Dispatcher, EventOutcome
from pipeline.triggers.events import Kind, ObjectEvent
from pipeline.triggers.rule import Rule, Source, Start
from pipeline.triggers.schema import parse_triggers

MANIFEST = b'version: 1\nname: la-street\nitems:\n- {image: "https://example.com/1.jpg", prompt: "smiles"}\n'


class Inbox:
    """A watched prefix on the S3 server and its dispatcher."""

    def __init__(self, settings: Settings, storage: Storage, folder: str) -> None:
        self.settings = settings
        self.storage = storage
        self.watch = f"{folder}inbox/"
        self.service = Service.connect(settings, storage=storage)
        self.dispatcher = self.another()

    def another(self) -> Dispatcher:
        """Return a dispatcher as another process has it."""
        return Dispatcher.of(self.service)

    def rule(self, start: Start = Start.MANIFEST, **more: Any) -> Rule:
        return Rule("inbox", Source.SQS, self.watch, start, **more)

    def images(self, **more: Any) -> Rule:
        return self.rule(Start.IMAGES, prompts=("smiles", "runs"), **more)

    def parsed_rule(self, more: str, source: str = "listing") -> Rule:
        """Return a rule for manifests as triggers.yaml has it, with further keys."""
        text = f"triggers:\n- {{name: inbox, source: {source}, watch: '{self.watch}', start: manifest, {more}}}\n"
        (rule,) = parse_triggers(text.encode(), file="triggers.yaml")
        return rule

    def put(self, name: str, data: bytes = MANIFEST) -> ObjectEvent:
        """Put an object and return its event."""
        uri = self.watch + name
        self.storage.put(uri, data, "application/octet-stream")
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ObjectEvent(Kind.CREATED, *split(uri), etag=etag, size=len(data), sequencer="1")

    def handle(self, event: ObjectEvent, rule: Rule | None = None) -> EventOutcome:
        (outcome,) = self.dispatcher.handle(event, [rule or self.rule()])
        return outcome

    def notification(self, *events: ObjectEvent) -> str:
        """Return the notification that S3 sends for these events."""
        records = [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": event.bucket},
                    "object": {
                        "key": quote_plus(event.key),
                        "size": event.size,
                        "eTag": event.etag,
                        "sequencer": event.sequencer,
                    },
                },
            }
            for event in events
        ]
        return json.dumps({"Records": records})

    def batches(self) -> list[str]:
        """Return the ids of all batches, newest first."""
        return [row.id for row in self.service.ledger.queries.recent_batches(5000)]

    def status(self, name: str) -> dict[str, Any]:
        text = self.storage.get(f"{self.watch}{name}.status.json")
        assert text, f"{name} has no status file"
        document = json.loads(text)
        assert isinstance(document, dict)
        return document
