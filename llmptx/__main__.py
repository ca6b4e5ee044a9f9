"""`python -m llmptx` is `llmptx`."""

from llmptx.cli import main

main(prog_name="llmptx")
