"""Whether a column's distribution differs from its baseline's: tests, their null distributions, verdicts."""
