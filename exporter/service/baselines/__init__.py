"""What windows are compared with: made, refreshed, succeeded, cut to a season."""
