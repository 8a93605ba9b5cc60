"""The only package that sends requests to Wiro: client, transport, responses, errors. Imports: domain."""
