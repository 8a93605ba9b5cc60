"""The HTTP API: endpoints, schemas, OpenAPI, server-sent events."""
