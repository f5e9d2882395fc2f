"""Which local models are in memory: decided by `planner`, carried out by `keeper`."""
