"""Queues of moto, which emulates SQS."""

from __future__ import annotations

import json
from typing import Any

import boto3


class Sqs:
    """A queue and its dead_letters-letter queue."""

    def __init__(self, endpoint: str, name: str) -> None:
        self.client = boto3.client("sqs", endpoint_url=endpoint)
        self.dead_letters = self.client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = self.client.get_queue_attributes(QueueUrl=self.dead_letters, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
        self.url = self.client.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive})["QueueUrl"]

    def send(self, *bodies: str) -> None:
        """Put messages on the queue, in order."""
        for first in range(0, len(bodies), 10):
            entries: Any = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[first : first + 10])]
            self.client.send_message_batch(QueueUrl=self.url, Entries=entries)

    def left(self, url: str = "") -> int:
        """Return the number of messages, including the invisible ones."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)
        return sum(int(count) for count in attributes["Attributes"].values())
