"""The operations of a step, a file for each concept."""
