import logging
import sys
import threading

from tfseg.exporters.quiet import keep_quiet


def test_what_a_thread_prints_is_hidden_and_what_others_print_is_not(capsys):
    def speak():
        print("of another thread")
        print("its error", file=sys.stderr)
        sys.stdout.buffer.write(f"its bytes, of {sys.stdout.encoding.lower()}\n".encode())

    with keep_quiet():
        print("a report")
        print("a bar", file=sys.stderr)
        sys.stderr.writelines(["a bar", "another"])
        other = threading.Thread(target=speak)
        other.start()
        other.join()
    print("after it")
    assert capsys.readouterr() == ("of another thread\nits bytes, of utf-8\nafter it\n", "its error\n")


def test_no_handler_of_the_root_logger_is_left(capsys, monkeypatch):
    """One that writes into the stream of the block would hide all that is logged after it."""
    kept = logging.StreamHandler(sys.stderr)
    for before in ([], [kept]):
        monkeypatch.setattr(logging.root, "handlers", [*before])
        with keep_quiet():
            logging.info("what libraries note")
        assert logging.root.handlers == before
    logging.getLogger("tfseg.test").warning("a warning after it")
    assert "a warning after it" in capsys.readouterr().err
