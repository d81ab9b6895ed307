"""When models are evaluated, and what goes into an evaluation."""
