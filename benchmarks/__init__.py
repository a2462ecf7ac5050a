"""Benchmarks: workloads.py says what is trained, peers/ holds one engine a file, compare.py makes the table."""
