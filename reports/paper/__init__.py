"""The tables and figures of the paper, redrawn: what it prints beside what was measured here."""
