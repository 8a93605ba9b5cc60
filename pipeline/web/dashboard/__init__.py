"""The HTML pages. Imports: schedules, triggers, batches and below."""
