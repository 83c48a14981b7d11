"""Kernels that adapt to the labels, and those that do not: solvers, readings, and the theory of `mean_field`."""
