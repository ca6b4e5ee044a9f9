"""NVIDIA's tools, found where they are: assemble and report. Never required to be on PATH."""
