"""What earlier evaluations said: recorded, corrected, asked for, carried into Prometheus."""
