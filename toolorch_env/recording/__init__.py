"""Recording APIs into snapshots."""
