"""python -m tfseg.data_service dispatcher | worker: reads and decodes for a training, on other processes or machines.

    python -m tfseg.data_service dispatcher --port 5050
    python -m tfseg.data_service worker --dispatcher grpc://localhost:5050
    python -m tfseg.data_service worker --dispatcher grpc://localhost:5050
    python -m tfseg.train --config configs/demo.yaml --data.service grpc://localhost:5050

Workers must see the records under the same path as the training, and run the same TensorFlow. A worker may come, leave
or die at any time: the others continue. Ctrl-C or SIGTERM ends either. --host lets other machines in: see
docs/network.md first.
"""

import argparse
import signal
import sys

from tfseg.io import command
from tfseg.pipeline.service import await_dispatcher, start_dispatcher, start_worker

PATIENCE = 60.0  # seconds that a worker waits for its dispatcher, whose TensorFlow may load meanwhile


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("data_service"),
        description="Reads and decodes for a training, on a tf.data service. Whoever reaches its ports can read and "
        "write files as its user: there is neither a key nor encryption. Only this machine does unless --host says "
        "otherwise, or the system cannot keep others out, which Linux can; a line at the start says which.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    dispatcher = commands.add_parser("dispatcher", help="gives workers their shards; one is needed")
    dispatcher.add_argument("--port", type=int, default=5050, help="0 takes a free one (default: %(default)s)")
    dispatcher.add_argument(
        "--host",
        default="localhost",
        help="name that other machines reach it by, which lets all of them in (default: %(default)s, this one alone)",
    )
    dispatcher.add_argument("--journal", metavar="DIR", help="folder to resume from after a restart (default: none)")
    worker = commands.add_parser("worker", help="reads and decodes; as many as are wanted")
    worker.add_argument("--dispatcher", required=True, metavar="ADDRESS", help="such as grpc://localhost:5050")
    worker.add_argument(
        "--host",
        default="localhost",
        help="name that trainings on other machines reach it by, which lets all of them in (default: %(default)s, "
        "this one alone)",
    )
    worker.add_argument("--port", type=int, default=0, help="(default: a free one)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Runs one of the servers until a signal ends it."""
    options = parse_arguments(arguments)
    if options.command == "worker":
        await_dispatcher(
            options.dispatcher, PATIENCE, lambda text: print(f"{command.called()}: {text}", file=sys.stderr)
        )
    # The signals wait until they are asked for, in the server's threads too.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    if options.command == "dispatcher":
        server = start_dispatcher(options.port, options.journal, options.host)
        print(f"dispatcher at grpc://{options.host}:{server.port}", flush=True)
    else:
        server = start_worker(options.dispatcher, options.host, options.port)
        print(f"worker of {options.dispatcher}", flush=True)
    print(f"{command.called()}: {server.describe_reach()}", file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    server.stop()
    sys.exit(0)


if __name__ == "__main__":
    command.run(main)
