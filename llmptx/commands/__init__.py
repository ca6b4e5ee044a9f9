"""The commands of the command line, one module a group: they parse, call and print.

Imports of what a command needs stand in its function: `llmptx --help` must not pay for a compiler.
"""
