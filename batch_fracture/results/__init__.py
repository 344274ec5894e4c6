"""The results: a Delta table of readings, run records, and the work folders of runs in progress.

    URI/readings/       Delta table; plain Parquet, one file per unit        table.py
    URI/runs/           one Parquet file per ended run                       records.py
    URI/_work/RUN_ID/   manifest, lease and unit files of a run in progress  work.py, units.py

A unit is complete on disk before it counts, and `commit.py` moves complete units into the table in one step.
"""
