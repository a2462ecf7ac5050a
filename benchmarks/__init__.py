"""Benchmarks: workloads.py says what is trained, peers/ holds one engine a file, compare.py makes the table.

inputs.py, scaling.py, latency.py and estimators.py measure one thing each; suites/ is what asv runs. Shared are
forms.py (in what forms X is handed over), turns.py (taking turns) and report.py (tables, files, options).
"""
