"""The judge judged: what share of faults it finds, which honest kernels it accuses, what a verdict takes."""
