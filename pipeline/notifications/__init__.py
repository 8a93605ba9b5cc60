"""Outgoing webhooks when a batch has ended. Imports: net, domain, settings."""
