"""The champion and its challengers since they began."""
