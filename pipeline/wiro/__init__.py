"""The only package that speaks to Wiro: client, transport, responses, errors. Imports: domain."""
