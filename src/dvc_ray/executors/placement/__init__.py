"""Where attempts fit, run best, and what they wait for: pure decisions."""
