"""Pure statistics: arrays and profiles in, results out; no input or output, clock or global randomness."""
