"""What `benchmarks/engine.py` runs: kernels, their peers, and how both are timed."""
