"""Benchmarks: workloads.py says what is trained, peers/ holds one engine a file, compare.py makes the table.

scaling.py and latency.py measure one thing each; suites/ is what asv runs.
"""
