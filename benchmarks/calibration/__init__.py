"""How often drift verdicts are false, and how often they find what has changed, beside the peers'."""
