"""List the public names of modules of a Rust crate, one to a line, sorted.

    python tools/extract_rust_names.py SRC_DIR > docs/coverage/bytesbuf-0.4.2.txt
    python tools/extract_rust_names.py SRC_DIR/mem SRC_DIR/mem/testing \\
        > docs/coverage/bytesbuf-mem-0.4.2.txt
    python tools/extract_rust_names.py SRC_DIR SRC_DIR/buf > docs/coverage/bytes-1.10.1.txt
    python tools/extract_rust_names.py SRC_DIR SRC_DIR/buf \\
        | LC_ALL=C comm -13 docs/coverage/bytes-1.10.1.txt - > docs/coverage/bytes-1.12.1-new.txt
    python tools/extract_rust_names.py SRC_DIR SRC_DIR/testing \\
        > docs/coverage/bytesbuf-io-0.4.0.txt
    python tools/extract_rust_names.py SRC_DIR > docs/coverage/bufstream-0.1.4.txt
    python tools/extract_rust_names.py SRC_DIR > docs/coverage/async-io-typed-3.0.0.txt

Each folder is a module, with its `lib.rs` or `mod.rs`; SRC_DIR is the crate's root, at the tag that
the file is named for. Listed are what that file re-exports with `pub use`, and the types and traits
that it declares itself; of these types the public named fields of structs, the variants of enums,
the public functions of their `impl` blocks, the derived traits and the implemented ones, also those
of other types that name one of them; and what the public traits ask their implementers for, or
provide:

    BytesView                     a type, a trait, or a constant
    BytesView::len                a function, a field, a variant, or a trait's associated type
    BytesView: Clone              a trait

Paths are left out (`fmt::Write` and `io::Write` are both `Write`), and so are lifetimes other than
`'static`, and arguments that are all type variables (`Chain<T, U>` is `Chain`).

It reads what rustfmt writes and no more: an `impl` begins in the first column, and so does the
brace that ends it. Where a macro of these folders has a single rule, with variables, a call of it
in the first column is read as the items that it makes, so `fmt_impl!(Debug, Bytes);` is an `impl`.
Modules written inside a file (unit tests, most of all) and what is public only inside the crate
are left out, with the traits that private types implement. `#[cfg]` and `#[doc(hidden)]` are not
looked at: they leave no name out.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template

COMMENT = re.compile(r"^\s*//.*\n?", re.MULTILINE)
BODY = r"\{(?:\}|(?P<body>.*?)^\})"
INLINE_MODULE = re.compile(r"^(?:pub(?:\([^)]*\))? )?mod \w+ " + BODY, re.MULTILINE | re.DOTALL)
MACRO = re.compile(
    r"^macro_rules! (?P<name>\w+) \{\n"
    r" {4}\((?P<variables>.*\$.*)\) => \{\n(?P<body>(?:(?: {8}.*)?\n)*) {4}\};?\n\}",
    re.MULTILINE,
)
REPETITION = re.compile(r"^ *(?:\$\(|\)[*+])\n", re.MULTILINE)
CALL = re.compile(r"^(?P<name>\w+)!\(\s*(?P<arguments>.*?),?\s*\);$", re.MULTILINE | re.DOTALL)
REEXPORT = re.compile(r"^pub use [\w:]*::(?:\{([^}]*)\}|(\w+));", re.MULTILINE)
REEXPORT_ALL = re.compile(r"^pub use (?:self::)?(\w+)::\*;", re.MULTILINE)
KIND = r"(?:unsafe )?(?:struct|enum|trait|union)"
ATTRIBUTE = r"#\[[^\n]*(?:\]|\((?:\n {4}[^\n]*)*\n\)\])\n"
TYPE = re.compile(rf"^((?:{ATTRIBUTE})*)pub {KIND} (\w+)", re.MULTILINE)
PRIVATE = re.compile(rf"^(?:pub\([^)]*\) )?{KIND} (\w+)", re.MULTILINE)
DERIVE = re.compile(r"#\[derive\(([^)]*)\)\]")
IMPL = re.compile(
    r"^(?:unsafe )?impl(?P<variables><[^{\n]*?>)? (?P<head>[^\n{]*?)\s*(?:\n?where[^{]*)?" + BODY,
    re.MULTILINE | re.DOTALL,
)
IMPL_HEAD = re.compile(r"^(?:unsafe )?impl\b[^{;]*\{", re.MULTILINE)
STRUCT = re.compile(r"^pub struct (?P<name>\w+)[^{;]*" + BODY, re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^ {4}pub (\w+):", re.MULTILINE)
ENUM = re.compile(r"^pub enum (?P<name>\w+)[^{]*" + BODY, re.MULTILINE | re.DOTALL)
VARIANT = re.compile(r"^ {4}([A-Z]\w*)(?=[,({ ]|$)", re.MULTILINE)
TRAIT = re.compile(r"^pub (?:unsafe )?trait (?P<name>\w+)[^{]*" + BODY, re.MULTILINE | re.DOTALL)
FUNCTION = re.compile(r"^ {4}pub (?:const |async |unsafe )*fn (\w+)", re.MULTILINE)
ASKED_FOR = re.compile(r"^ {4}(?:(?:const |async |unsafe )*fn|type) (\w+)", re.MULTILINE)


def code_of(path: Path) -> str:
    """Return a source without comments and inline modules; each impl begins with one line."""
    code = INLINE_MODULE.sub("", COMMENT.sub("", path.read_text()))
    return IMPL_HEAD.sub(lambda head: re.sub(r"\s+", " ", head[0]), code)


def expanded(code: str, macros: dict[str, re.Match[str]]) -> str:
    """Return `code` with its calls of `macros` replaced by what they stand for."""

    def expansion(call: re.Match[str]) -> str:
        macro = macros.get(call["name"])
        if macro is None:
            return call[0]
        body = Template(textwrap.dedent(REPETITION.sub("", macro["body"])))
        variables = re.findall(r"\$(\w+)", macro["variables"])
        arguments = re.split(r",\s*", call["arguments"])
        # `$($t:ty),*` takes its variables again and again, and its body is written as often.
        rounds = zip(*[iter(arguments)] * len(variables), strict=True)
        return "\n".join(
            body.safe_substitute(dict(zip(variables, values, strict=True))) for values in rounds
        )

    return CALL.sub(expansion, code)


def public_in(root: Path) -> set[str]:
    """Return the names that a `lib.rs` or a `mod.rs` makes public in its module."""
    code = code_of(root)
    groups = (several or one for several, one in REEXPORT.findall(code))
    paths = (path.strip() for group in groups for path in group.split(",") if path.strip())
    names = {path.rpartition("::")[2] for path in paths} | {name for _, name in TYPE.findall(code)}
    wholes = (root.with_name(f"{module}.rs") for module in REEXPORT_ALL.findall(code))
    return names.union(*map(public_in, wholes))


def bare(name: str, variables: set[str]) -> str:
    """Return a type's or trait's name without its path, its lifetimes and its type variables."""
    stripped = re.sub(r"&'(?!static\b)\w+ ", "&", name.strip().removeprefix("dyn "))
    for arguments in re.findall(r"<([\w', ]+)>", stripped):
        if all(
            part[0] == "'" or part == "_" or part in variables for part in arguments.split(", ")
        ):
            stripped = stripped.replace(f"<{arguments}>", "")
    return re.sub(r"\b(?:\w+::)+", "", stripped)


def names_in(code: str, public: set[str], private: set[str]) -> Iterator[str]:
    """Yield what one source file says about the types in `public`, and not about `private` ones."""
    for attributes, name in TYPE.findall(code):
        if name in public:
            for derived in DERIVE.findall(attributes):
                yield from (f"{name}: {trait.strip()}" for trait in derived.split(","))
    for declared, member in ((STRUCT, FIELD), (ENUM, VARIANT), (TRAIT, ASKED_FOR)):
        for block in declared.finditer(code):
            if block["name"] in public:
                names = member.findall(block["body"] or "")
                yield from (f"{block['name']}::{name}" for name in names)
    for block in IMPL.finditer(code):
        variables = set(re.findall(r"[<,] *(?:const )?(\w+)", block["variables"] or ""))
        trait, is_trait, owner = (
            bare(name, variables) for name in block["head"].rpartition(" for ")
        )
        if owner.partition("<")[0] in private:
            continue
        if not is_trait:
            if owner in public:
                yield from (f"{owner}::{name}" for name in FUNCTION.findall(block["body"] or ""))
        elif not public.isdisjoint(re.findall(r"\w+", f"{trait} {owner}")):
            yield f"{owner}: {trait}"


def extracted(folders: Iterable[Path]) -> list[str]:
    """Return the sorted names of the modules in `folders`."""
    folders = list(folders)
    roots = [path for folder in folders for path in map(folder.joinpath, ("lib.rs", "mod.rs"))]
    public = set().union(*(public_in(root) for root in roots if root.exists()))
    sources = {path: code_of(path) for folder in folders for path in folder.rglob("*.rs")}
    macros = {macro["name"]: macro for code in sources.values() for macro in MACRO.finditer(code)}
    sources = {path: expanded(code, macros) for path, code in sources.items()}
    hidden = {path: set(PRIVATE.findall(code)) for path, code in sources.items()}
    # A private type can have the name of a public one, but in its own file only.
    elsewhere = set().union(*hidden.values()) - public
    found = set(public)
    for path, code in sources.items():
        found.update(names_in(code, public, hidden[path] | elsewhere))
    return sorted(found)


def main() -> int:
    """Print the names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="a folder with a lib.rs or a mod.rs"
    )
    print(*extracted(parser.parse_args().folders), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
