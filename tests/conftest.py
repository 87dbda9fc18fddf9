"""What all tests share: no hub is ever asked, and the real sets are found or the test is skipped with a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models of the tests are tiny: several threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ten thousand hostile inputs and more, chosen anew each time: pytest tests/property --hypothesis-profile=hostile
settings.register_profile("hostile", print_blob=True)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder that holds the real retrieval sets in BEIR layout, one folder each."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real sets (../shared/data beside the checkout) are not here")
    return SHARED_DATA
