"""Where the page listens, read from its sockets, is what the guide to security says."""

from pathlib import Path

import pytest
from helper_models import write_model
from helper_sockets import check_server


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_the_page_is_reached_from_this_machine(tmp_path):
    pytest.importorskip("streamlit")
    write_model(tmp_path / "model")
    words = ["app", "--model", "model"]
    check_server("tfseg app", words, "http://", tmp_path, "8501", "this machine", "/_stcore/health")
