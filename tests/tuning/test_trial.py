import signal
import subprocess
import sys

WAIT = "import time; from tfseg.tuning.trial import stop_with_parent; stop_with_parent(); time.sleep(60)"


def test_it_is_stopped_when_its_input_ends():
    with subprocess.Popen([sys.executable, "-c", WAIT], stdin=subprocess.PIPE) as process:
        process.stdin.close()
        assert process.wait(timeout=30) == -signal.SIGTERM


def test_it_ends_by_itself_while_its_input_is_open():
    with subprocess.Popen([sys.executable, "-c", WAIT.replace("60", "0")], stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == 0
