"""Approved kernels, out of the workspace and into other people's programs.

package writes an installable Python package; kernel, library, elementwise, axes and products are its runtime.
"""
