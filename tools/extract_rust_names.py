"""List the public names of modules of a Rust crate, one to a line, sorted.

    python tools/extract_rust_names.py SRC_DIR > docs/coverage/bytesbuf-0.4.2.txt
    python tools/extract_rust_names.py SRC_DIR/mem SRC_DIR/mem/testing \\
        > docs/coverage/bytesbuf-mem-0.4.2.txt

Each folder is a module, with its `lib.rs` or `mod.rs`; SRC_DIR is the crate's root. Listed are what
that file re-exports with `pub use`, and of these types the public functions of their `impl`
blocks, the derived traits and the implemented ones, also those of other types that name one of
them; and what the public traits ask their implementers for:

    BytesView                     a type, or a constant
    BytesView::len                a function, or a trait's associated type
    BytesView: Clone              a trait

It reads what rustfmt writes and no more: an `impl` begins in the first column, and so does the
brace that ends it. Unit tests (`mod tests`) and what is public only inside the crate are left out,
with the traits that private types implement.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMENT = re.compile(r"^\s*//.*\n?", re.MULTILINE)
TESTS = re.compile(r"^mod tests\b.*", re.MULTILINE | re.DOTALL)
REEXPORT = re.compile(r"^pub use [\w:]*::(?:\{([^}]*)\}|(\w+));", re.MULTILINE)
STRUCT = re.compile(r"^((?:#\[[^\n]*\]\n)*)pub (?:struct|enum|trait|union) (\w+)", re.MULTILINE)
PRIVATE = re.compile(r"^(?:pub\([^)]*\) )?(?:struct|enum|trait|union) (\w+)", re.MULTILINE)
DERIVE = re.compile(r"#\[derive\(([^)]*)\)\]")
BODY = r"\{(?:\}|(?P<body>.*?)^\})"
IMPL = re.compile(
    r"^(?:unsafe )?impl(?P<variables><[^{\n]*?>)? (?P<head>[^\n{]*?)\s*(?:\n?where[^{]*)?" + BODY,
    re.MULTILINE | re.DOTALL,
)
TRAIT = re.compile(r"^pub (?:unsafe )?trait (?P<name>\w+)[^{]*" + BODY, re.MULTILINE | re.DOTALL)
FUNCTION = re.compile(r"^ {4}pub (?:const |async |unsafe )*fn (\w+)", re.MULTILINE)
ASKED_FOR = re.compile(r"^ {4}(?:(?:const |async |unsafe )*fn|type) (\w+)", re.MULTILINE)


def code_of(path: Path) -> str:
    """Return a file's source without comments and unit tests."""
    return COMMENT.sub("", TESTS.sub("", path.read_text()))


def reexported(root: str) -> set[str]:
    """Return the names that a `lib.rs` or a `mod.rs` makes public in its module."""
    names = (several or one for several, one in REEXPORT.findall(root))
    return {name.strip() for group in names for name in group.split(",") if name.strip()}


def bare(name: str, variables: set[str]) -> str:
    """Return a type's or trait's name without its path, its lifetimes and its type variables."""
    stripped = name.strip().removeprefix("dyn ")
    for arguments in re.findall(r"<([\w', ]+)>", stripped):
        if all(
            part[0] == "'" or part == "_" or part in variables for part in arguments.split(", ")
        ):
            stripped = stripped.replace(f"<{arguments}>", "")
    return re.sub(r"\b(?:\w+::)+", "", stripped)


def names_in(code: str, public: set[str], private: set[str]) -> Iterator[str]:
    """Yield what one source file says about the types in `public`, and not about `private` ones."""
    for attributes, name in STRUCT.findall(code):
        if name in public:
            for derived in DERIVE.findall(attributes):
                yield from (f"{name}: {trait.strip()}" for trait in derived.split(","))
    for block in TRAIT.finditer(code):
        if block["name"] in public:
            asked = ASKED_FOR.findall(block["body"] or "")
            yield from (f"{block['name']}::{name}" for name in asked)
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
        elif public & {owner, *re.findall(r"\w+", trait)}:
            yield f"{owner}: {trait}"


def extracted(folders: Iterable[Path]) -> list[str]:
    """Return the sorted names of the modules in `folders`."""
    folders = list(folders)
    roots = [path for folder in folders for path in map(folder.joinpath, ("lib.rs", "mod.rs"))]
    public = set().union(*(reexported(code_of(root)) for root in roots if root.exists()))
    sources = {path: code_of(path) for folder in folders for path in folder.rglob("*.rs")}
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
