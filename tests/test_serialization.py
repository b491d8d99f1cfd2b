"""Views go through JSON, YAML and msgpack and back, by msgspec and by cattrs, as `bytes` do."""

from __future__ import annotations

import base64
import importlib
import json
import subprocess
import sys
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import BYTES, cut_at, cut_bytes

from trio_bytesbuf import BytesView, Released
from trio_bytesbuf.testing import check_laws
from trio_bytesbuf.wire import msgspec_dec_hook, msgspec_enc_hook, register_cattrs_hooks

# What `serde_json` 1 and `rmp-serde` 1 write for a `bytes::Bytes` of version 1.10.1.
RUST_DATA = b"\0hi\xff"
RUST_JSON = b"[0,104,105,255]"
RUST_MSGPACK = bytes([196, 4, 0, 104, 105, 255])

NO_VIEWS = {
    "number": (5, "not int"),
    "truth": (True, "not bool"),
    "fraction": (1.5, "not float"),
    "table": ({"a": 1}, "not dict"),
    "too large": ([1, 256], "item 1 is no number from 0 to 255"),
    "negative": ([-1], "item 0 is no number from 0 to 255"),
    "huge": ([0, 0, 1 << 63], "item 2 is no number from 0 to 255"),
    "truth inside": ([1, True], "item 1 is no number from 0 to 255"),
    "fraction inside": ([1.0], "item 0 is no number from 0 to 255"),
    "text inside": (["1"], "item 0 is no number from 0 to 255"),
    "list inside": ([[1]], "item 0 is no number from 0 to 255"),
}
"""What could be written where a view should be and is none, and what the error says of it."""

NO_BASE64 = {
    "no letters of it": "n\xf6",
    "a character too few": "YWI",
    "padding in front": "=YWI",
    "a line": "YWI=\n",
    "the alphabet of URLs": "_-8=",
    "words": "hello world",
}


@attrs.define
class Record:
    """A message as attrs and cattrs know it; msgspec knows it too."""

    body: BytesView
    parts: list[BytesView] = attrs.Factory(list)
    maybe: BytesView | None = None
    name: str = ""


@attrs.define
class BytesRecord:
    """`Record` with `bytes`: what the libraries do by themselves."""

    body: bytes
    parts: list[bytes]
    maybe: bytes | None
    name: str


def record_of(view: BytesView) -> Record:
    return Record(view, [view, BytesView(), view[1:]], view, "\xe4")


def check_record(record: Record, expected: Record) -> None:
    """Check that what came back is equal, and made of views that obey their laws."""
    assert record == expected
    for view in (record.body, *record.parts, *([record.maybe] if record.maybe else [])):
        assert type(view) is BytesView
        check_laws(view)
        hash(view)


# msgspec


@pytest.fixture(scope="module")
def msgspec():
    return pytest.importorskip("msgspec", reason="msgspec is not installed")


@pytest.fixture(params=["json", "msgpack", "yaml"], scope="module")
def form(request, msgspec):
    """Return one of msgspec's modules that encode and decode."""
    if request.param == "yaml":
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    return getattr(msgspec, request.param)


@given(drawn=cut_bytes())
def test_msgspec_brings_views_back(form, drawn: tuple[bytes, BytesView]) -> None:
    """In fields, in lists and in optional fields; it writes what it writes for the bytes."""
    model, view = drawn
    record = record_of(view)
    written = form.encode(record, enc_hook=msgspec_enc_hook)
    assert written == form.encode(BytesRecord(model, [model, b"", model[1:]], model, "\xe4"))
    check_record(form.decode(written, type=Record, dec_hook=msgspec_dec_hook), record)
    none = Record(view)
    written = form.encode(none, enc_hook=msgspec_enc_hook)
    check_record(form.decode(written, type=Record, dec_hook=msgspec_dec_hook), none)


def test_a_struct_of_msgspec_has_views_in_its_fields(form, msgspec) -> None:
    """Encoders and decoders that are made once take the hooks as the functions do."""
    struct = msgspec.defstruct("Message", [("body", BytesView), ("many", dict[str, BytesView])])
    message = struct(cut_at(b"body", {2}), {"a": BytesView(b"A"), "b": BytesView()})
    written = form.encode(message, enc_hook=msgspec_enc_hook)
    assert form.decode(written, type=struct, dec_hook=msgspec_dec_hook) == message
    if hasattr(form, "Encoder"):
        assert form.Encoder(enc_hook=msgspec_enc_hook).encode(message) == written
        assert form.Decoder(struct, dec_hook=msgspec_dec_hook).decode(written) == message


def test_without_the_hook_msgspec_refuses_a_view(form, msgspec) -> None:
    """A view that nobody cared for is an error, and not an empty object without its bytes."""
    with pytest.raises(TypeError, match="BytesView"):
        form.encode(Record(BytesView(b"abc")))
    with pytest.raises(msgspec.ValidationError, match="BytesView"):
        form.decode(form.encode({"body": b"abc"}), type=Record)


def test_msgspec_is_given_the_memory_itself() -> None:
    """A view of one piece is written from where it lies, read-only; pieces are copied together."""
    data = b"one piece"
    given_over = msgspec_enc_hook(BytesView(data))
    assert given_over.obj is data
    assert given_over.readonly
    given_over.release()  # harmless to the view
    assert msgspec_enc_hook(cut_at(data, {3})) == data


def test_msgspec_reads_binary_data_without_a_copy_by_us(msgspec) -> None:
    """The view shows the `bytes` that msgspec made."""
    seen = []

    def dec_hook(type_, obj):
        seen.append(obj)
        return msgspec_dec_hook(type_, obj)

    written = msgspec.msgpack.encode({"body": b"a body"})
    record = msgspec.msgpack.decode(written, type=Record, dec_hook=dec_hook)
    assert type(seen[0]) is bytes
    assert record.body.first_piece.obj is seen[0]


def test_msgspec_reads_what_rust_writes(msgspec) -> None:
    """A list of numbers in JSON and YAML, binary data in msgpack."""
    view = BytesView
    for module, data in (
        (msgspec.json, RUST_JSON),
        (msgspec.msgpack, RUST_MSGPACK),
        (msgspec.msgpack, bytes([0x94, 0, 104, 105, 0xCC, 255])),  # as a list, of other crates
    ):
        assert module.decode(data, type=view, dec_hook=msgspec_dec_hook) == RUST_DATA
    assert msgspec.json.decode(b"[]", type=view, dec_hook=msgspec_dec_hook) == b""
    every = json.dumps(list(range(256))).encode()
    assert msgspec.json.decode(every, type=view, dec_hook=msgspec_dec_hook) == bytes(range(256))


@pytest.mark.parametrize(("wrong", "complaint"), NO_VIEWS.values(), ids=NO_VIEWS)
def test_what_is_no_view_is_an_error_of_msgspec_that_says_where(
    form, msgspec, wrong: object, complaint: str
) -> None:
    """A ValidationError with the reason and the path; above all, 5 is not five zeros."""
    written = form.encode({"body": b"", "parts": [b"", wrong]})
    with pytest.raises(msgspec.ValidationError) as caught:
        form.decode(written, type=Record, dec_hook=msgspec_dec_hook)
    assert complaint in str(caught.value)
    assert "`$.parts[1]`" in str(caught.value)


@pytest.mark.parametrize("text", NO_BASE64.values(), ids=NO_BASE64)
def test_text_that_is_no_base64_is_refused(form, msgspec, text: str) -> None:
    """As msgspec refuses it for `bytes`; nothing is skipped over."""
    with pytest.raises(msgspec.ValidationError):
        form.decode(form.encode(text), type=bytes, strict=True)
    with pytest.raises(msgspec.ValidationError, match="the text is no base64"):
        form.decode(form.encode(text), type=BytesView, dec_hook=msgspec_dec_hook)


@given(st.one_of(st.text(max_size=8), BYTES.map(lambda data: base64.b64encode(data).decode())))
def test_text_is_read_as_msgspec_reads_it_for_bytes(msgspec, text: str) -> None:
    """The same bytes, or an error from both."""

    def read(type_: type) -> object:
        try:
            return msgspec.convert(text, type_, dec_hook=msgspec_dec_hook)
        except msgspec.ValidationError:
            return None

    assert read(BytesView) == read(bytes)


def test_hooks_of_a_users_own_go_together_with_ours(form) -> None:
    """Before ours, which say NotImplementedError for what they do not know, or behind it."""
    record = {"z": 1j, "body": BytesView(b"abc")}
    expected = form.encode({"z": "1j", "body": b"abc"})
    for enc_hook, dec_hook in (FIRST_OURS, FIRST_THEIRS):
        written = form.encode(record, enc_hook=enc_hook)
        assert written == expected
        both = form.decode(written, type=Mixed, dec_hook=dec_hook)
        assert both == Mixed(1j, BytesView(b"abc"))


@attrs.define
class Mixed:
    """A view beside what only the user's hook knows."""

    z: complex
    body: BytesView


def enc_first_theirs(obj: object) -> object:
    return str(obj) if isinstance(obj, complex) else msgspec_enc_hook(obj)


def dec_first_theirs(type_: type, obj: object) -> object:
    return complex(obj) if type_ is complex else msgspec_dec_hook(type_, obj)


def enc_first_ours(obj: object) -> object:
    try:
        return msgspec_enc_hook(obj)
    except NotImplementedError:
        return str(obj)


def dec_first_ours(type_: type, obj: object) -> object:
    try:
        return msgspec_dec_hook(type_, obj)
    except NotImplementedError:
        return type_(obj)


FIRST_OURS = enc_first_ours, dec_first_ours
FIRST_THEIRS = enc_first_theirs, dec_first_theirs


@pytest.mark.parametrize("other", [b"abc", "abc", 1j, None, bytearray(b"a")], ids=repr)
def test_the_hooks_of_msgspec_do_not_take_what_is_not_theirs(other: object) -> None:
    """NotImplementedError names the type, for writing and for reading."""
    with pytest.raises(NotImplementedError, match=type(other).__name__):
        msgspec_enc_hook(other)
    with pytest.raises(NotImplementedError, match=type(other).__name__):
        msgspec_dec_hook(type(other), b"abc")


def test_a_released_view_is_not_written(form) -> None:
    """Released, and not an empty text."""
    view = BytesView(b"abc")
    view.release()
    with pytest.raises(Released):
        form.encode(Record(view), enc_hook=msgspec_enc_hook)


def test_msgspec_converts_views_and_binary_data_as_they_are(msgspec) -> None:
    """What is a view already stays one; memory that may change is shown and has no hash."""
    view = cut_at(b"abc", {1})
    memory = bytearray(b"abc")
    for obj in (view, memory, memoryview(memory)):
        assert msgspec_dec_hook(BytesView, obj) == b"abc"
        converted = msgspec.convert({"body": obj}, Record, dec_hook=msgspec_dec_hook)
        assert converted.body == b"abc"
    with pytest.raises(TypeError, match="may change"):
        hash(msgspec_dec_hook(BytesView, memory))


# cattrs

PRECONF = ["json", "msgpack", "pyyaml", "msgspec"]
"""Of the converters that cattrs makes, those whose formats the tests have."""


@pytest.fixture(scope="module")
def cattrs():
    return pytest.importorskip("cattrs", reason="cattrs is not installed")


@pytest.fixture(scope="module")
def plain(cattrs):
    """Return a plain converter that knows views."""
    converter = cattrs.Converter()
    register_cattrs_hooks(converter)
    return converter


@pytest.fixture(params=PRECONF, scope="module")
def preconf(request, cattrs):
    """Return a converter for a format, which knows views, by `dumps` and `loads`."""
    needed = {"pyyaml": "yaml", "json": "json"}.get(request.param, request.param)
    pytest.importorskip(needed, reason=f"{needed} is not installed")
    converter = importlib.import_module(f"cattrs.preconf.{request.param}").make_converter()
    register_cattrs_hooks(converter)
    return converter


@given(drawn=cut_bytes())
def test_cattrs_brings_views_back(preconf, drawn: tuple[bytes, BytesView]) -> None:
    """In fields, in lists and in optional fields; it writes what it writes for the bytes."""
    model, view = drawn
    record = record_of(view)
    written = preconf.dumps(record)
    assert written == preconf.dumps(BytesRecord(model, [model, b"", model[1:]], model, "\xe4"))
    check_record(preconf.loads(written, Record), record)
    none = Record(view)
    check_record(preconf.loads(preconf.dumps(none), Record), none)


@given(drawn=cut_bytes())
def test_a_plain_converter_makes_bytes_of_views(plain, drawn: tuple[bytes, BytesView]) -> None:
    """And views of bytes, of lists of numbers, of base64 text, and of views."""
    model, view = drawn
    assert plain.unstructure(view) == model
    assert type(plain.unstructure(view)) is bytes
    unstructured = plain.unstructure(Record(view))
    assert unstructured == {"body": model, "parts": [], "maybe": None, "name": ""}
    for form in (model, list(model), tuple(model), base64.b64encode(model).decode(), view):
        structured = plain.structure(form, BytesView)
        check_laws(structured)
        assert structured == model
    check_record(plain.structure(unstructured, Record), Record(view))


def test_cattrs_reads_binary_data_without_a_copy(plain) -> None:
    """The view shows the very `bytes` that came."""
    data = b"a body"
    assert plain.structure({"body": data}, Record).body.first_piece.obj is data


def test_without_the_hooks_cattrs_does_not_write_an_empty_object(cattrs) -> None:
    """A view that nobody cared for is left as it is, with its bytes."""
    view = BytesView(b"abc")
    assert cattrs.Converter().unstructure(Record(view))["body"] is view


def test_cattrs_reads_what_rust_writes(preconf) -> None:
    """A list of numbers in every format, binary data in msgpack."""
    numbers = preconf.dumps({"body": list(RUST_DATA)}, dict)
    assert preconf.loads(numbers, Record).body == RUST_DATA
    if isinstance(numbers, bytes) and numbers[:1] == b"\x81":  # a map of one entry: msgpack
        assert preconf.loads(numbers[:6] + RUST_MSGPACK, Record).body == RUST_DATA


def leaves_of(error: BaseException) -> list[BaseException]:
    """Return the errors in a group and the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in leaves_of(one)]
    return [error]


@pytest.mark.parametrize(("wrong", "complaint"), NO_VIEWS.values(), ids=NO_VIEWS)
def test_what_is_no_view_is_an_error_of_cattrs_that_says_where(
    cattrs, preconf, wrong: object, complaint: str
) -> None:
    """In a group with the reason; cattrs' own summary has the path."""
    written = preconf.dumps({"body": preconf.unstructure(b""), "parts": [wrong]}, dict)
    with pytest.raises(cattrs.ClassValidationError) as caught:
        preconf.loads(written, Record)
    assert [type(leaf) in (ValueError, TypeError) for leaf in leaves_of(caught.value)] == [True]
    assert complaint in str(leaves_of(caught.value)[0])
    assert "@ $.parts[0]" in cattrs.transform_error(caught.value)[0]


@pytest.mark.parametrize("text", NO_BASE64.values(), ids=NO_BASE64)
@pytest.mark.parametrize("preconf", ["msgpack", "pyyaml"], indirect=True)
def test_converters_without_text_for_bytes_take_base64_and_nothing_else(
    plain, preconf, text: str
) -> None:
    """A ValueError that says so, where `bytes` of a text would be a TypeError."""
    for converter in (plain, preconf):
        assert converter.structure("YWI=", BytesView) == b"ab"
        with pytest.raises(ValueError, match="the text is no base64"):
            converter.structure(text, BytesView)


@pytest.mark.parametrize("preconf", ["json"], indirect=True)
def test_a_converter_with_text_for_bytes_reads_that(preconf) -> None:
    """The one for JSON has base85, and refuses what is not."""
    assert preconf.structure(base64.b85encode(b"abc").decode(), BytesView) == b"abc"
    with pytest.raises(ValueError, match="base85"):
        preconf.structure("~~~~~", BytesView)


def test_a_converters_own_way_with_bytes_is_followed(plain) -> None:
    """Also when it is changed afterwards, and by a copy with ways of its own."""
    hexadecimal = plain.copy()
    hexadecimal.register_unstructure_hook(bytes, lambda data: data.hex())
    hexadecimal.register_structure_hook(bytes, lambda text, _: bytes.fromhex(text))
    assert hexadecimal.unstructure(BytesView(b"abc")) == "616263"
    assert hexadecimal.structure("616263", BytesView) == b"abc"
    assert plain.unstructure(BytesView(b"abc")) == b"abc"


def test_a_hook_that_a_user_registers_afterwards_goes_first(plain) -> None:
    """Ours steps back."""
    converter = plain.copy()
    converter.register_unstructure_hook(BytesView, lambda view: f"{view:?}")
    assert converter.unstructure(BytesView(b"abc")) == 'b"abc"'


# Nothing that is not needed

IMPORTS = """
import sys
import trio_bytesbuf.wire
found = {"cattrs", "msgspec", "yaml", "msgpack"} & set(sys.modules)
assert not found, found
"""


def test_nothing_is_imported_before_it_is_used() -> None:
    """The room of these hooks needs neither library, nor a format."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_hooks_do_without_the_libraries() -> None:
    """The functions for msgspec are functions; only whoever calls `register` has a converter."""
    hook: Callable[..., object] = msgspec_dec_hook
    assert hook(BytesView, base64.b64encode(RUST_DATA).decode()) == RUST_DATA
    assert bytes(msgspec_enc_hook(BytesView(RUST_DATA))) == RUST_DATA
