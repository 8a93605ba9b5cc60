"""The nouns and rules of the domain: states, retry policy, money, results, callback tokens.

Pure: imports nothing of the project."""
