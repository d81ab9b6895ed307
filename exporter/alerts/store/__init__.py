"""What the bridge remembers: alerts and their lives, groups, notifications, deliveries. One SQLite file."""
