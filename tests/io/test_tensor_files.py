import io
import json
import os
import pickle
import re
import zipfile

import numpy as np
import pytest

from tfseg.io import torch_pickles
from tfseg.io.tensor_files import read_tensors

MAGIC = 0x1950A86A20F9469CFC6C
DICT = b"ccollections\nOrderedDict\n)R"
SIX = np.arange(6, dtype="<f4")


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(b"\x8a\x09" + value.to_bytes(9, "little", signed=True) for value in values) + b"t"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, count=6, key="0", kind="FloatStorage") -> bytes:
    """The part of a pickle that PyTorch writes for a tensor."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + numbers(count)[1:-1]
    arguments = storage + b"tQ" + numbers(offset)[1:-1] + numbers(*shape) + numbers(*strides) + b"\x89" + DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def dict_of(**items: bytes) -> bytes:
    return DICT + b"(" + b"".join(text(name) + item for name, item in items.items()) + b"u"


def write_zip(path, value: bytes, storages: dict[str, bytes], compression=zipfile.ZIP_STORED, **entries: bytes):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + value + b".")
        for name, data in {**{f"data/{key}": data for key, data in storages.items()}, **entries}.items():
            archive.writestr(f"archive/{name}", data)
    return path


def write_legacy(path, value: bytes, storages: dict[str, np.ndarray]):
    pickles = [pickle.dumps(MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    pickles += [b"\x80\x02" + value + b".", pickle.dumps([*storages], 2)]
    path.write_bytes(
        b"".join(pickles) + b"".join(a.size.to_bytes(8, "little") + a.tobytes() for a in storages.values())
    )
    return path


def write_safetensors(path, header: object, data: bytes, length: int | None = None):
    start = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes((len(start) if length is None else length).to_bytes(8, "little") + start + data)
    return path


def refused(path, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: .*{words}"):
        read_tensors(path)


# -- what is read --


def test_both_formats_of_pytorch(tmp_path):
    value = dict_of(a=tensor(), b=tensor((3,), (2,), 1))
    new = read_tensors(write_zip(tmp_path / "new.pth", value, {"0": SIX.tobytes()}, byteorder=b"little"))
    old = read_tensors(write_legacy(tmp_path / "old.pth", value, {"0": SIX}))
    for tensors in (new, old):
        assert [*tensors] == ["a", "b"]
        assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert tensors["b"].tolist() == [1, 3, 5]


def test_a_transposed_view_and_a_single_number(tmp_path):
    value = dict_of(turned=tensor((3, 2), (1, 3)), one=tensor((), (), 4))
    found = read_tensors(write_zip(tmp_path / "a.pth", value, {"0": SIX.tobytes()}))
    assert found["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["turned"].flags.c_contiguous
    assert found["one"].shape == () and found["one"] == 4


def test_a_parameter_is_its_tensor(tmp_path):
    value = dict_of(a=b"ctorch._utils\n_rebuild_parameter\n(" + tensor() + b"\x88" + DICT + b"tR")
    assert read_tensors(write_zip(tmp_path / "a.pt", value, {"0": SIX.tobytes()}))["a"].shape == (2, 3)


def test_half_precision_becomes_float32(tmp_path):
    half, brain = np.array([1.5, -2], "<f2"), np.array([0x3FC0, 0xC000], "<u2")  # bfloat16: of 1.5 and -2
    value = dict_of(
        half=tensor((2,), (1,), 0, 2, "0", "HalfStorage"), brain=tensor((2,), (1,), 0, 2, "1", "BFloat16Storage")
    )
    path = write_zip(tmp_path / "a.bin", value, {"0": half.tobytes(), "1": brain.tobytes()})
    header = {
        "half": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        "brain": {"dtype": "BF16", "shape": [2], "data_offsets": [4, 8]},
    }
    safe = write_safetensors(tmp_path / "a.safetensors", header, half.tobytes() + brain.tobytes())
    for tensors in (read_tensors(path), read_tensors(safe)):
        assert all(array.dtype == np.float32 and array.tolist() == [1.5, -2] for array in tensors.values())


def test_safetensors(tmp_path):
    header = {
        "__metadata__": {"format": "pt"},
        "count": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    }
    data = SIX.tobytes() + (7).to_bytes(8, "little")
    tensors = read_tensors(write_safetensors(tmp_path / "a.safetensors", header, data))
    assert [*tensors] == ["count", "a"]
    assert tensors["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["count"] == 7


@pytest.mark.parametrize("length", [0x80, 0x4B50])  # begin as a pickle does, and almost as a zip file
def test_safetensors_by_the_length_of_their_header(tmp_path, length):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode().ljust(length)
    path = write_safetensors(tmp_path / "a.safetensors", header, SIX.tobytes())
    assert read_tensors(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "value",
    [
        dict_of(epoch=b"K\x03", state_dict=dict_of(a=tensor())),
        dict_of(model=dict_of(state_dict=dict_of(a=tensor()), note=text("best"))),
        dict_of(state_dict=dict_of(**{"module.model.a": tensor()}), lr=b"G?\xe0\0\0\0\0\0\0", optimizer=b"}K\1]K\2as"),
        dict_of(state_dict=dict_of(b=tensor()), state_dict_ema=dict_of(a=tensor())),
        dict_of(epoch=b"K\x03", a=tensor()),
        dict_of(best_score=tensor((), ()), state_dict=dict_of(a=tensor())),
        dict_of(model_ema=DICT, state_dict=dict_of(a=tensor())),
    ],
)
def test_checkpoints_hold_weights_within(tmp_path, value):
    assert [*read_tensors(write_zip(tmp_path / "a.pth", value, {"0": SIX.tobytes()}))] == ["a"]


def test_an_old_checkpoint_with_an_optimizer(tmp_path):
    value = dict_of(state_dict=dict_of(a=tensor()), optimizer=dict_of(momentum=tensor((2,), (1,), 0, 2, "1")))
    path = write_legacy(tmp_path / "a.pth", value, {"1": SIX[:2], "0": SIX})
    assert read_tensors(path)["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_attributes_of_a_dict_are_left_out(tmp_path):
    value = dict_of(a=tensor()) + b"}" + text("_metadata") + DICT + b"sb"
    assert [*read_tensors(write_zip(tmp_path / "a.pth", value, {"0": SIX.tobytes()}))] == ["a"]


# -- what is refused --


class Bomb:
    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_is_run(tmp_path, protocol, legacy):
    sign = tmp_path / "run"
    bombs = (
        Bomb(os.system, f"touch {sign}"),
        Bomb(eval, f"open({str(sign)!r}, 'w')"),
        {"state_dict": [Bomb(exec, f"open({str(sign)!r}, 'w')")]},
        Bomb(getattr, sign, "touch"),
    )
    for bomb in bombs:
        data = pickle.dumps(bomb, protocol)
        path = tmp_path / "a.pth"
        if legacy:
            path.write_bytes(b"".join(pickle.dumps(n, 2) for n in (MAGIC, 1001, {})) + data)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", data)
        refused(path, "in its pickle")
    assert not sign.exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"cos\nsystem\n" + text("true") + b"\x85R", "asks for os.system in its pickle, which is not run"),
        (text("builtins") + text("eval") + b"\x93" + text("1") + b"\x85R", "asks for builtins.eval"),
        (text("builtins") + b"q\1h\1q\0" + text("exec") + b"\x93", "asks for builtins.exec"),  # names out of the memo
        (b"ccollections OrderedDict\nOrderedDict\n)R", "asks for collections.OrderedDict.OrderedDict"),
        (b"ccollections\nOrderedDict.fromkeys\n)R", "asks for collections.OrderedDict.fromkeys"),
        (b"ctorch._utils\n_rebuild_tensor_v2\nq\1" + b"(tR", "calls torch._utils._rebuild_tensor_v2 .* as PyTorch"),
        (b"ccollections\nOrderedDict\n" + text("a") + b"\x85R", "calls collections.OrderedDict"),
        (b"ctorch\nFloatStorage\n)R", "calls torch.FloatStorage"),
        (text("os.system") + b")R", "calls what it did not ask for"),
        (b"ccollections\nOrderedDict\n}b", "sets attributes of what is no dict"),  # of the class itself
        (b"ccollections\nOrderedDict\n)\x81", "the instruction NEWOBJ"),
        (b"(ios\nsystem\n", "the instruction INST"),
        (b"(cos\nsystem\no", "asks for os.system"),
        (b"\x82\1", "the instruction EXT1"),
        (b"}))s", "a key of the kind tuple"),  # hashes of nested tuples double at each level
        (b"}" + numbers(2**61 - 1)[1:-1] + b"Ns", "a key of the kind int"),
        (b"K\1K\1a", "broken pickle"),
        (b"h\7", "broken pickle"),
        (b"R", "broken pickle"),
        (b"X\xff\xff\xff\x7f", "broken pickle"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "the instruction BINBYTES8"),
        (b"NQ", "broken pickle"),
        (b"]q\1h\1a", "holds no weights by name"),  # a list that holds itself
        (b"K\1", "holds no weights by name"),
        (DICT, "holds no weights by name"),
    ],
)
def test_pickles_that_make_no_tensors(tmp_path, value, words):
    refused(write_zip(tmp_path / "a.pth", value, {}), words)


def test_a_pickle_may_not_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_pickles, "MOST_STEPS", 100)
    refused(write_zip(tmp_path / "a.pth", b"]" * 101, {}), "more than 100 steps")


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (tensor((2, 4), (3, 1)), "does not lie in its 6 numbers"),
        (tensor((6,), (1,), 1), "does not lie in its 6 numbers"),
        (tensor((10**12,), (0,)), "does not lie in its 6 numbers"),  # 4 TB of one number
        (tensor((2**62, 2**62), (0, 0)), "does not lie in its 6 numbers"),
        (tensor((7,), (0,)), "does not lie in its 6 numbers"),
        (tensor((2,), (-1,), 3), "the strides"),
        (tensor((2,), (1,), -1), "the strides"),
        (tensor((-1,), (1,)), "the strides"),
        (tensor((2, 3), (1,)), "the strides"),
        (tensor((1,) * 9, (1,) * 9), "the strides"),
        (tensor((0, 2**40), (1, 1)), "an empty tensor"),
        (tensor((1, 6), (2**62, 1)), "the strides"),  # more bytes than NumPy can count
        (tensor((0, 6), (2**64, 1)), "the strides"),
        (tensor((1,) * 65, (1,) * 65), "of an unknown kind"),
        (tensor(count=7), "of 7 numbers in 24 bytes"),
        (tensor(count=-1), "of -1 numbers in 24 bytes"),
        (tensor(kind="DoubleStorage"), "of 6 numbers in 24 bytes|is cut short"),
        (tensor(key="1"), "lacks the (entry|storage)"),
        (tensor(key="../data.pkl"), "lacks the (entry|storage)"),
        (tensor(kind="ComplexFloatStorage"), "asks for torch.ComplexFloatStorage"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_views_that_leave_their_storage(tmp_path, view, words, legacy):
    value = dict_of(a=view)
    if legacy and "6" not in words:
        words += "|holds a storage"
    path = tmp_path / "a.pth"
    refused(write_legacy(path, value, {"0": SIX}) if legacy else write_zip(path, value, {"0": SIX.tobytes()}), words)


def test_many_views_of_one_storage_are_not_copied(tmp_path):
    data = bytes(100_000)
    views = {str(n): tensor((25_000,), (1,), 0, 25_000) for n in range(50)}
    refused(write_zip(tmp_path / "a.pth", dict_of(**views), {"0": data}), "take more than 4 times its size")


def test_two_storages_of_one_key(tmp_path):
    value = dict_of(a=tensor(), b=tensor(count=5, shape=(5,), strides=(1,)))
    refused(write_zip(tmp_path / "a.pth", value, {"0": SIX.tobytes()}), "two storages of one key")


def test_zip_files_that_pytorch_does_not_write(tmp_path):
    path = tmp_path / "a.pth"
    refused(write_zip(path, dict_of(a=tensor()), {"0": bytes(24)}, zipfile.ZIP_DEFLATED), "compressed")
    refused(write_zip(path, dict_of(a=tensor()), {"0": bytes(24)}, byteorder=b"big"), "highest byte first")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("code/model.py", "")
    refused(path, "0 entries data.pkl")
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(path, dict_of(a=tensor()), {"0": bytes(24)}, **{"data.pkl": b""})
    refused(path, "a name twice")


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, bytes(20), "at 0..24 of 20 bytes"),
        ({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}}, bytes(20), "of the shape"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12), "expected it at 0"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(12), "4 bytes behind its last tensor"),
        ({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, bytes(8), "'b' at 0..8"),
        ({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, bytes(2), "the type 'F8_E4M3'"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}}, b"", "without a dtype"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4), "without a dtype"),
        ({"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}, bytes(8), "without a dtype"),
        ({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, bytes(8), "without a dtype"),
        ({"a": {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}}, bytes(4), "without a dtype"),
        ({"a": 1}, b"", "without a dtype"),
        ({}, b"", "holds no weights"),
        (b'{"a": 1, "a": 2}', b"", "the key 'a' twice"),
        (b"{" * 10_000, b"", "nested too deep|is no JSON"),
    ],
)
def test_broken_safetensors(tmp_path, header, data, words):
    refused(write_safetensors(tmp_path / "a.safetensors", header, data), words)


def test_a_header_that_is_too_long(tmp_path):
    refused(write_safetensors(tmp_path / "a.safetensors", b"{}", b"", 2**62), "a header of .* which is too long")
    refused(write_safetensors(tmp_path / "a.safetensors", b"{}", b"", 3), "a header of 3 bytes")


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "a.pth"
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"version https://git-lfs.github.com/spec/v1\n"):
        path.write_bytes(content)
        refused(path, "is no file of PyTorch")
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    refused(path, "not one of PyTorch")
    with pytest.raises(OSError, match="missing"):
        read_tensors(tmp_path / "missing.pth")


def test_every_file_that_is_cut_short_is_refused(tmp_path):
    value = dict_of(a=tensor())
    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    whole = (
        write_zip(tmp_path / "new", value, {"0": SIX.tobytes()}),
        write_legacy(tmp_path / "old", value, {"0": SIX}),
        write_safetensors(tmp_path / "safe", header, SIX.tobytes()),
    )
    for path in whole:
        content = path.read_bytes()
        for length in range(0, len(content), 5):
            path.write_bytes(content[:length])
            refused(path, "")


def test_a_changed_byte_is_refused_or_read(tmp_path):
    value, random = dict_of(a=tensor(), b=tensor((3,), (2,), 1)), np.random.default_rng(0)
    whole = (
        write_zip(tmp_path / "new", value, {"0": SIX.tobytes()}),
        write_legacy(tmp_path / "old", value, {"0": SIX}),
    )
    for path in whole:
        content = path.read_bytes()
        for _ in range(200):
            changed = bytearray(content)
            changed[random.integers(len(content))] = random.integers(256)
            path.write_bytes(changed)
            try:
                arrays = read_tensors(path)
            except ValueError as error:
                assert str(error).startswith(f"{path}: ")
            else:
                assert all(array.nbytes <= 24 * 4 for array in arrays.values())


# -- against PyTorch's own --


@pytest.mark.parametrize("legacy", [False, True])
def test_files_that_pytorch_writes(tmp_path, legacy):
    torch = pytest.importorskip("torch")
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    state = {str(kind): (torch.randn(4, 5) * 3).to(kind)[1:, ::2].T for kind in kinds}
    state["parameter"] = torch.nn.Parameter(torch.randn(3))
    state["nothing"] = torch.zeros(0, 3)
    file = io.BytesIO()
    torch.save({"epoch": 1, "state_dict": state}, file, _use_new_zipfile_serialization=not legacy)
    path = tmp_path / "a.pth"
    path.write_bytes(file.getvalue())
    found = read_tensors(path)
    assert [*found] == [*state]
    for name, array in found.items():
        wanted = state[name].detach()
        wanted = wanted.float() if wanted.dtype in (torch.float16, torch.bfloat16) else wanted
        np.testing.assert_array_equal(array, wanted.numpy())
