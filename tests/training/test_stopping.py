"""How a training ends on signals."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import signal, threading
from types import SimpleNamespace
from tfseg.training import stopping

stopping.PATIENCE = 0.2
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell has ignored by what it runs in the background
with stopping.stoppable(SimpleNamespace(interrupt=lambda text: None)):
    print("runs", flush=True)
    {work}
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("work", ["threading.Event().wait()", "{deaf}"])
def test_the_second_signal_ends_a_training(work):
    deaf = "[signal.signal(n, lambda *_: None) for n in (2, 15)]; threading.Event().wait()"
    code = SCRIPT.format(work=work.replace("{deaf}", deaf))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (130, 1, -signal.SIGINT)
        finally:
            process.kill()
