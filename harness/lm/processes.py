"""What the processes of one training have to agree on."""

from __future__ import annotations

from datetime import timedelta

PATIENCE = timedelta(days=1)
"""How long processes wait for one that searches or writes for all; torch by itself gives up after 10 to 30 minutes."""
