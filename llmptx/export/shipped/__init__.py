"""Modules that exports carry with them: they run where llmptx is not installed, and import nothing of it."""
