"""Kills and stops worker processes of conversion, verification, exploration and audit at random moments of their life.

    python -m benchmarks.fuzz_workers --kills 500 --parallel 2

Each command must end within 10 s of the signal with one line and exit code 1, or well if its worker had done its work;
the same command must then make the same bytes as if nothing had happened. Needs /proc, so Linux.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import save_results
from tfseg.io import command, workers
from tfseg.synthetic.sample_city import make_sample_city

SIGNALS = ["SIGKILL"] * 4 + ["SIGSTOP"] * 3 + ["SIGTERM", "SIGSEGV"]  # by how often each is drawn
VERBS = ("convert", "verify", "explore", "audit")
OF_RECORDS = ("verify", "audit")  # the others read a data set
LIMIT = 60  # seconds after which a command hangs
IN_TIME = 10


@dataclass
class Attack:
    """What came of one signal to one worker.

    Attributes:
        seconds: from the signal to the end of the command.
        faults: what was not as it should be.
    """

    verb: str
    signal: str
    moment: float
    code: int | None
    seconds: float
    faults: list[str]


def call(verb: str, city: Path, out: Path) -> list[str]:
    """The command of a verb, which reads a data set or records and may write to a folder."""
    arguments = {
        "convert": ["--root", city, "--out", out, "--codec", "png"],
        "verify": [city],
        "explore": ["--root", city, "--out", out],
        "audit": [city],
    }
    return [sys.executable, "-m", f"tfseg.{verb}", *map(str, arguments[verb]), "--workers", "2"]


def read_files(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(words: Sequence[str]) -> subprocess.Popen:
    """Starts a command in a process group of its own."""
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )


def find_workers(parent: int) -> list[int]:
    """The numbers of a command's worker processes."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:  # one has ended
        return []


def wait_for_workers(process: subprocess.Popen) -> list[int]:
    """Waits until a command has workers, or has ended."""
    while not (found := find_workers(process.pid)) and process.poll() is None:
        time.sleep(0.01)
    return found


def measure_life(words: Sequence[str]) -> float:
    """The seconds that workers of a command live."""
    with start(words) as process:
        wait_for_workers(process)
        began = time.monotonic()
        while find_workers(process.pid):
            time.sleep(0.01)
        life = time.monotonic() - began
        _, errors = process.communicate()
    if process.returncode:
        raise ValueError(f"{' '.join(words)}: {errors}")
    return life


def attack(verb: str, city: Path, wanted: dict[str, bytes], life: float, seed: int) -> Attack | None:
    """Sends a signal to a worker of a command; None: all had ended before."""
    draw = random.Random(f"{verb} {seed}")
    name, moment = draw.choice(SIGNALS), draw.uniform(0, life)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        process = start(call(verb, city, out))
        wait_for_workers(process)
        time.sleep(moment)
        if not (found := find_workers(process.pid)):
            process.communicate()
            return None
        subprocess.run(["kill", f"-{name}", str(draw.choice(found))], stderr=subprocess.DEVNULL)
        began = time.monotonic()
        try:
            _, errors = process.communicate(timeout=LIMIT)
            faults = judge(process.returncode, errors, time.monotonic() - began, verb)
        except subprocess.TimeoutExpired:
            for pid in (process.pid, *find_workers(process.pid)):
                subprocess.run(["kill", "-KILL", str(pid)], stderr=subprocess.DEVNULL)
            process.communicate()
            faults = ["hangs"]
        seconds = time.monotonic() - began
        if wanted:
            faults += check_files(verb, city, out, wanted, process.returncode)
        return Attack(verb, name, round(moment, 3), process.returncode, round(seconds, 2), faults)


def judge(code: int, errors: str, seconds: float, verb: str) -> list[str]:
    """What is wrong with how a command ended."""
    lines = [line for line in errors.splitlines() if "image/s" not in line and "shard/s" not in line]
    expected = [f"{verb}: error: {message}" for message in (workers.KILLED, workers.STOPPED)]
    others = [line for line in lines if not line.startswith("note: ")]  # such as that no model looks for label errors
    errors_seen = [line for line in others if "error" in line.lower() or "Traceback" in line]
    faults = [f"over {IN_TIME} s"] if code and seconds > IN_TIME else []
    if code not in (0, 1):
        faults.append(f"exit code {code}")
    if code and (len(errors_seen) != 1 or errors_seen[0] not in expected):
        faults.append(f"says {lines}")
    if code == 0 and errors_seen:
        faults.append(f"ends well and says {errors_seen}")
    return faults


def check_files(verb: str, city: Path, out: Path, wanted: dict[str, bytes], code: int | None) -> list[str]:
    """Has a command that failed done again, and compares what it made with what it should."""
    faults = []
    if code:
        if read_files(out):
            faults.append("left files in the folder to make")
        again = subprocess.run(call(verb, city, out), capture_output=True, text=True)
        if again.returncode:
            faults.append(f"cannot be done again: {again.stderr}")
    if read_files(out) != wanted:
        faults.append("made other files")
    return faults


def main() -> None:
    """Sends as many signals as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500, help="(default: %(default)s)")
    parser.add_argument("--parallel", type=int, default=1, help="commands at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first signal (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for what came of it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz_workers.") as folder:
        attacks = run(Path(folder), options.kills, options.parallel, options.seed)
    bad = [one for one in attacks if one.faults]
    failed = [one.seconds for one in attacks if one.code]
    counts = Counter(f"{one.verb} {one.signal} exit {one.code}" for one in attacks)
    print(*(f"{kind}: {count}" for kind, count in sorted(counts.items())), sep="\n")
    print(f"{len(attacks)} signals, {len(bad)} faults, the longest end took {max(failed, default=0)} s")
    results = {"counts": dict(sorted(counts.items())), "faults": len(bad), "longest": max(failed, default=0)}
    save_results(options.json, "fuzz_workers", results)
    if bad:
        raise ValueError(f"{len(bad)} faults: {bad[:5]}")


def run(folder: Path, kills: int, parallel: int, seed: int) -> list[Attack]:
    """Makes a data set and records of it, and attacks commands that read them."""
    city, records = folder / "city", folder / "records"
    make_sample_city(city, (64, 128), {"train": 16, "val": 5, "test": 2}, workers=1)
    lives = {"convert": measure_life(call("convert", city, records))}
    lives["verify"] = measure_life(call("verify", records, folder))
    lives["explore"] = measure_life(call("explore", city, folder / "page"))
    lives["audit"] = measure_life(call("audit", records, folder))
    wanted = {"convert": read_files(records), "explore": read_files(folder / "page")}
    attacks: list[Attack] = []

    def attack_once(seed: int) -> Attack | None:
        verb = VERBS[seed % len(VERBS)]
        place = records if verb in OF_RECORDS else city
        return attack(verb, place, wanted.get(verb, {}), lives[verb], seed)

    with ThreadPoolExecutor(parallel) as pool:
        while missing := kills - len(attacks):  # those that came too late are drawn again
            few = min(missing, 20)
            new = [*filter(None, pool.map(attack_once, range(seed, seed + few)))]
            print(*(f"{one}\n" for one in new if one.faults), sep="", end="")
            attacks += new
            seed += few
            print(f"{len(attacks)} signals, {sum(bool(one.faults) for one in attacks)} faults", flush=True)
    return attacks


if __name__ == "__main__":
    command.run(main)
