"""Training: one loop that knows no method, and what it needs."""
