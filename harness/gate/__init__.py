"""Compare a run with a baseline: has quality dropped, have latency, memory or size grown?

thresholds.py   what is compared how strictly, and its defaults
measured.py     what a run folder says, one value a query (means over seeds)
baseline.py     the committed file: figures, thresholds and checksums as JSON, the value of each query beside it
verdicts.py     OK, WARN, FAIL
quality.py      paired one-sided randomisation tests and a least drop that matters
costs.py        latency and memory as ratios to a system of the same run, sizes in bytes
judge.py        all of it together
"""
