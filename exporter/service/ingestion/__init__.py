"""Rows, labels and profiles on their way in: admitted, profiled, joined, committed."""
