"""What the collected feedback says: satisfaction by group with its interval, and how it went over time."""
