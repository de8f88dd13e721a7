import os
import signal
import subprocess
import sys

import pytest

from tfseg.io import command


def test_sizes_are_height_by_width():
    assert command.parse_size("512x1024") == (512, 1024)


@pytest.mark.parametrize("text", ["512", "512x", "0x4", "-1x4", "512X1024", "4x4x4", "a4x4", ""])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="expected a size as HEIGHTxWIDTH"):
        command.parse_size(text)


def raises(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("b.png: is cut short"), "make: error: b.png: is cut short"),
        (ValueError("a\x1b[2Jb\u202ec\nsecond line"), "make: error: a\\x1b[2Jb\\u202ec\nsecond line"),
        (FileNotFoundError("no such folder"), "make: error: no such folder"),
        (KeyboardInterrupt(), 130),
        (
            ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
            "make: error: TensorFlow is not installed; install it with pip install 'tf-segmentation[cpu]' or "
            "'tf-segmentation[cuda]'",
        ),
        (
            ModuleNotFoundError("No module named 'optuna'", name="optuna"),
            "make: error: Optuna is not installed; install it with pip install 'tf-segmentation[tune]'",
        ),
        (
            ModuleNotFoundError("No module named 'wandb'", name="wandb"),
            "make: error: log.wandb is set, and wandb is not installed; install it with pip install "
            "'tf-segmentation[wandb]'",
        ),
        (
            ModuleNotFoundError("No module named 'kagglehub'", name="keras_hub"),
            "make: error: KerasHub is not installed whole; install it with pip install 'tf-segmentation[keras-hub]', "
            "then pip install --no-deps keras-hub",
        ),
        (
            ModuleNotFoundError("No module named 'jax'", name="jax"),
            "make: error: KERAS_BACKEND is jax, which is not installed; pip install jax, or set it to tensorflow",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(monkeypatch, error, code):
    monkeypatch.setattr(sys, "argv", ["tools/make.py"])
    with pytest.raises(SystemExit) as exit:
        command.run(raises(error))
    assert exit.value.code == code


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        command.run(raises(ZeroDivisionError()))
    with pytest.raises(ModuleNotFoundError):
        command.run(raises(ModuleNotFoundError("No module named 'numpy'", name="numpy")))


def test_names_that_cannot_be_printed_are_escaped():
    code = """
import os
import signal
import subprocess
import sys
from tfseg.io import command
command.run(lambda: print("a\\udcff \\u65e5"))
"""
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=60)
    assert done.stdout == b"a\\udcff \\u65e5" + os.linesep.encode()


class ResourceExhaustedError(Exception):
    """TensorFlow's."""


class OutOfMemoryError(RuntimeError):
    """PyTorch's."""


class XlaRuntimeError(RuntimeError):
    """JAX's."""


OOM = (
    "{{function_node f}} OOM when allocating tensor with shape[400,9] and type float on /job:localhost by cpu [Op:Fill]"
)


def chained(error):
    def main():
        try:
            raise error
        except Exception as first:
            raise RuntimeError("in the step") from first

    return main


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (ResourceExhaustedError(OOM), " (OOM when allocating tensor with shape[400,9] and type float)"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU"), " (Tried to allocate 2.00 GiB)"),
        (
            XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes."),
            " (allocating 99 bytes)",
        ),
        (MemoryError(), ""),
        (MemoryError("Unable to allocate 728. TiB for an array"), " (Unable to allocate 728. TiB)"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            None,
        ),
        (RuntimeError("Dst tensor is not initialized."), ""),
        (ImportError("libaom.so: failed to map segment from shared object"), ""),
        (OSError(12, "Cannot allocate memory"), ""),
    ],
)
def test_want_of_memory_is_one_line_with_a_remedy(monkeypatch, error, asked):
    for program, remedy in (
        ("tfseg/train.py", "lower train.batch_size, for which optimizer.gradient_accumulation_steps makes up"),
        ("tfseg/predict.py", "give --sliding-window HxW"),
        ("tfseg/describe.py", "lower --batch or --size"),
        ("other.py", "free some, or take smaller images"),
    ):
        monkeypatch.setattr(sys, "argv", [program])
        for main in (raises(error), chained(error)):
            with pytest.raises(SystemExit) as exit:
                command.run(main)
            words = exit.value.code
            assert words.startswith(f"{program.rpartition('/')[2][:-3]}: error: out of memory") and remedy in words
            assert asked is None or f"out of memory{asked}; " in words
            assert "\n" not in words


def test_what_only_looks_like_it_is_told_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/make.py"])
    with pytest.raises(SystemExit) as exit:
        command.run(raises(ValueError("a.png: out of memory is its name")))
    assert exit.value.code == "make: error: a.png: out of memory is its name"
    with pytest.raises(ResourceExhaustedError):
        command.run(raises(ResourceExhaustedError("Received message larger than max")))


@pytest.mark.parametrize(
    ("system", "machine", "words"),
    [
        ("linux", "x86_64", "install it with pip install 'tf-segmentation[cpu]' or 'tf-segmentation[cuda]'"),
        ("linux", "aarch64", "install it with pip install 'tf-segmentation[cpu]' or 'tf-segmentation[cuda]'"),
        ("win32", "AMD64", "install it with pip install 'tf-segmentation[cpu]'"),
        ("darwin", "arm64", "install it with pip install tf-segmentation, on Python 3.11 or 3.12"),
        ("darwin", "x86_64", "there is none for Intel Macs: its last was 2.16, and tfseg needs 2.18"),
    ],
)
def test_the_advice_on_tensorflow_fits_the_machine(system, machine, words):
    assert words in command.advise_tensorflow(system, machine)


def test_a_backend_that_keras_own_file_asks_for(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["tools/make.py"])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    with pytest.raises(SystemExit) as exit:
        command.run(raises(ModuleNotFoundError("No module named 'torch'", name="torch")))
    assert exit.value.code == (
        f"make: error: {tmp_path}/keras.json has backend torch, which is not installed; pip install torch, or set the "
        "environment variable KERAS_BACKEND to tensorflow"
    )


SLEEPER = """
import sys
from tfseg.io import command
sys.argv = ["tools/draw.py"]
def main():
    {}
    import keras, tensorflow
command.run(main)
"""


@pytest.mark.parametrize("quiet", [False, True])
def test_what_takes_long_to_import_is_said_before(tmp_path, quiet):
    for name in ("keras", "tensorflow"):
        (tmp_path / f"{name}.py").write_text("import sys; print('imported', file=sys.stderr)")
    code = SLEEPER.format("command.be_quiet()" if quiet else "pass")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = [] if quiet else ["draw: loading Keras, which may take half a minute"]
    assert done.stderr.splitlines() == [*said, "imported", "imported"]
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_ctrl_c_while_a_command_is_imported_ends_it_quietly():
    code = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored by what a shell runs in the background
        "from tfseg import __main__\n"
        "runpy.run_module = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "__main__.main(['verify'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_command_that_runs_hears_ctrl_c(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command.end_quietly_until_run()
        with pytest.raises(SystemExit) as end:
            command.run(lambda: os.kill(os.getpid(), signal.SIGINT))
        assert end.value.code == 130 and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
