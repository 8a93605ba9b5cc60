"""The `dailies` command: commands, terminal output, progress."""
