"""A watched folder on the S3 server, and what happens when something is dropped there."""

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
from pipeline.triggers.status_files import StatusFiles

MANIFEST = b'version: 1\nname: la-street\nitems:\n- {image: "https://example.com/1.jpg", prompt: "smiles"}\n'


class Inbox:
    """A watched folder on the S3 server, and what happens when something is dropped there."""

    def __init__(self, settings: Settings, storage: Storage, folder: str) -> None:
        self.settings = settings
        self.storage = storage
        self.watch = f"{folder}inbox/"
        self.service = Service.connect(settings, storage=storage)
        self.dispatcher = self.another()

    def another(self) -> Dispatcher:
        """A dispatcher as another process would have it."""
        memory = Dispatcher.of(self.service).memory
        return Dispatcher(self.service, memory, StatusFiles(self.storage))

    def rule(self, start: Start = Start.MANIFEST, **more: Any) -> Rule:
        return Rule("inbox", Source.SQS, self.watch, start, **more)

    def images(self, **more: Any) -> Rule:
        return self.rule(Start.IMAGES, prompts=("smiles", "runs"), **more)

    def drop(self, name: str, data: bytes = MANIFEST) -> ObjectEvent:
        """Put an object; the event that tells of it."""
        uri = self.watch + name
        self.storage.put(uri, data, "application/octet-stream")
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ObjectEvent(Kind.CREATED, *split(uri), etag=etag, size=len(data), sequencer="1")

    def handle(self, event: ObjectEvent, rule: Rule | None = None) -> EventOutcome:
        (handled,) = self.dispatcher.handle(event, [rule or self.rule()])
        return handled

    def notification(self, *events: ObjectEvent) -> str:
        """What S3 sends to tell of them."""
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
        """Ids of all batches, the newest first."""
        return [row.id for row in self.service.ledger.queries.recent_batches(5000)]

    def status(self, name: str) -> dict[str, Any]:
        text = self.storage.get(f"{self.watch}{name}.status.json")
        assert text, f"nothing is told of {name}"
        document = json.loads(text)
        assert isinstance(document, dict)
        return document
