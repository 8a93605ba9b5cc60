"""Incoming webhooks: completion callbacks of Wiro and S3 object events."""
