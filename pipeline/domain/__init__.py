"""The data and rules of the domain: model, states, retry policy, money, results, callback tokens.

All modules are pure. They import nothing else of the project and no client library."""
