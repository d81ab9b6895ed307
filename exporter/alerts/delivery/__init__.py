"""A queue for each channel: lease, send, acknowledge; backoff, rate limits, dead letters."""
