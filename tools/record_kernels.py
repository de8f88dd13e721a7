"""Records which kernels the GPU of Apple Silicon has through tensorflow-metal-plugin, for `tfseg check_metal --plugin`.

    python tools/record_kernels.py kernels.md --out tfseg/diagnostics/metal_plugin_kernels.json

kernels.md is docs/kernels.md of https://github.com/IPNP-BIPN/tensorflow-metal-plugin: what the plugin adds to the
kernels that TensorFlow has for any GPU. These are asked of the TensorFlow that is installed, which should be the one
that the plugin is built for. A kernel's types are those of its attribute T, or dtype; the list has no others.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tfseg.io import command

ROW = re.compile(r"\| `(\w+)`[^|]* \| ([^|]+) \| ([^|]*) ?\|")
ANY = "(no dtype constraint)"
# Of XLA, debuggers and collectives, which no train step on Metal has.
LEFT_OUT = re.compile("_?Xla|.*Debug|.*Collective|.*Nccl|.*Dataset|.*Iterator")


def read_list(path: Path) -> dict[str, list[dict]]:
    """Reads the plugin's own list: operation -> kernels, as `diagnostics.metal` has them.

    Raises:
        ValueError: it has no kernels, or one of an operation that this TensorFlow has not.
    """
    from tensorflow.python.framework import op_def_registry

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text in UTF-8: {error}") from None
    found = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        if not line.startswith("| `"):
            continue
        place, row = f"{path}, line {number}", ROW.fullmatch(line.rstrip())
        if row is None:
            raise ValueError(f"{place}: expected | `Op` | dtypes | host-memory args |, got {line[:100]!r}")
        name, types, host = (cell.strip() for cell in row.groups())
        operation = op_def_registry.get(name)
        if operation is None:
            raise ValueError(f"{place}: {name}: no operation of this TensorFlow; install that of the plugin")
        allowed = (
            {}
            if types == ANY
            else {find_attribute(name, place): sorted(read_type(one, place) for one in types.split(", "))}
        )
        hosts, arguments = host.split(", ") if host else [], [*operation.input_arg, *operation.output_arg]
        if strangers := {*hosts} - {argument.name for argument in arguments}:
            raise ValueError(f"{place}: {name} has no argument {', '.join(sorted(strangers))}")
        found[name].append(make_kernel(allowed, hosts))
    if not found:
        raise ValueError(f"{path}: expected a table of | `Op` | dtypes | host-memory args |, got no row of one")
    return found


def read_type(text: str, place: str) -> str:
    """Gives the name of a dtype back; raises ValueError, which names the place, for what is none."""
    import tensorflow as tf

    try:
        return tf.as_dtype(text).name
    except TypeError:
        raise ValueError(f"{place}: {text!r} is no dtype of TensorFlow") from None


def find_attribute(name: str, place: str) -> str:
    """Names the attribute by which an operation's kernels are listed; raises ValueError if it has none."""
    from tensorflow.python.framework import op_def_registry

    attributes = {attribute.name for attribute in op_def_registry.get(name).attr}
    if not attributes:
        raise ValueError(f"{place}: {name} has dtypes in the list, but no attribute in TensorFlow that would have one")
    return next(attribute for attribute in ("T", "dtype", *sorted(attributes)) if attribute in attributes)


def make_kernel(types: dict[str, list[str]], host: Iterable[str]) -> dict:
    """Writes a kernel down as `diagnostics.metal` reads it."""
    return {"types": types, **({"host": sorted(host)} if host else {})}


def list_own_kernels() -> dict[str, list[dict]]:
    """Lists those that TensorFlow has for any GPU, and, after them, for any device."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    found = defaultdict(list)
    registered = kernels.get_all_registered_kernels().kernel
    for device in ("GPU", "DEFAULT"):
        for one in (one for one in registered if one.device_type == device and not LEFT_OUT.match(one.op)):
            types = {
                constraint.name: sorted(tf.as_dtype(value).name for value in constraint.allowed_values.list.type)
                for constraint in one.constraint
            }
            merge(found[one.op], make_kernel(types, one.host_memory_arg))
    return found


def merge(kernels: list[dict], kernel: dict) -> None:
    """Adds a kernel to those of its operation; one that differs from another in one attribute's types joins it."""
    for other in kernels:
        apart = [name for name in kernel["types"] if other["types"].get(name) != kernel["types"][name]]
        if other["types"].keys() == kernel["types"].keys() and other.get("host") == kernel.get("host"):
            if not apart:
                return
            if len(apart) == 1:
                other["types"][apart[0]] = sorted({*other["types"][apart[0]], *kernel["types"][apart[0]]})
                return
    kernels.append(kernel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, metavar="kernels.md", help="the plugin's list of kernels")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="where to write the table")
    options = parser.parse_args()
    import tensorflow as tf

    plugin, own = read_list(options.list), list_own_kernels()
    against = re.search(r"against TensorFlow ([\d.]+\d)", options.list.read_text(encoding="utf-8"))
    about = (
        "Kernels on the GPU of Apple Silicon: those that tensorflow-metal-plugin lists as its own"
        f"{f', with TensorFlow {against[1]}' if against else ''}, then those of TensorFlow {tf.__version__} for any "
        "GPU. Operation: kernels, the first that fits counts; types: attribute -> dtypes, attributes not named may "
        "have any; host: arguments that lie in the processor's memory."
    )
    rows = [
        f" {json.dumps(name)}: {json.dumps([*plugin.get(name, []), *own.get(name, [])])}"
        for name in sorted({*plugin, *own})
    ]
    content = f'{{"about": {json.dumps(about)},\n"kernels": {{\n' + ",\n".join(rows) + "\n}}\n"
    options.out.write_text(content, encoding="utf-8")
    print(f"{options.out}: {len(plugin)} operations of the plugin, {len(own)} of TensorFlow's own")


if __name__ == "__main__":
    command.run(main)
