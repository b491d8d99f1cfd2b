//! What reads: `read SOURCE; ...`.

use crate::words::{attempt, bad, done, hex, or_short, Plain, Words};
use bytes::buf::{Chain, IntoIter, Take};
use bytes::{Buf, Bytes, BytesMut, TryGetError};
use std::collections::VecDeque;
use std::io::{Cursor, IoSlice, Read};

/// Has the three methods that it must have, and the `chunks_vectored` that comes with them.
pub struct Crumbs(VecDeque<Vec<u8>>);

impl Buf for Crumbs {
    fn remaining(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |chunk| chunk)
    }

    fn advance(&mut self, mut nbytes: usize) {
        assert!(nbytes <= self.remaining());
        while nbytes > 0 {
            let front = self.0.front_mut().unwrap();
            let step = nbytes.min(front.len());
            front.drain(..step);
            nbytes -= step;
            if front.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

pub enum Source {
    Slice(&'static [u8]),
    Bytes(Bytes),
    Mut(BytesMut),
    Deque(VecDeque<u8>),
    Cursor(Cursor<Vec<u8>>),
    Crumbs(Crumbs),
    Chain(Box<Chain<Source, Source>>),
    Take(Box<Take<Source>>),
}

macro_rules! on {
    ($source:expr, $inner:ident => $run:expr) => {
        match $source {
            Source::Slice($inner) => $run,
            Source::Bytes($inner) => $run,
            Source::Mut($inner) => $run,
            Source::Deque($inner) => $run,
            Source::Cursor($inner) => $run,
            Source::Crumbs($inner) => $run,
            Source::Chain($inner) => $run,
            Source::Take($inner) => $run,
        }
    };
}

impl Buf for Source {
    fn remaining(&self) -> usize {
        on!(self, inner => inner.remaining())
    }

    fn chunk(&self) -> &[u8] {
        on!(self, inner => inner.chunk())
    }

    fn chunks_vectored<'a>(&'a self, slots: &mut [IoSlice<'a>]) -> usize {
        on!(self, inner => inner.chunks_vectored(slots))
    }

    fn advance(&mut self, nbytes: usize) {
        on!(self, inner => Buf::advance(inner, nbytes))
    }

    fn copy_to_slice(&mut self, target: &mut [u8]) {
        on!(self, inner => inner.copy_to_slice(target))
    }

    fn try_copy_to_slice(&mut self, target: &mut [u8]) -> Result<(), TryGetError> {
        on!(self, inner => inner.try_copy_to_slice(target))
    }

    fn copy_to_bytes(&mut self, nbytes: usize) -> Bytes {
        on!(self, inner => inner.copy_to_bytes(nbytes))
    }
}

/// `slice`, `bytes`, `mut` HEX; `deque` HEX HEX; `file` PLACE HEX; `pieces`, `crumbs` COUNT HEX...;
/// `chain` SOURCE SOURCE; `take` LIMIT SOURCE.
pub fn source(words: &mut Words) -> Source {
    match words.word() {
        "slice" => Source::Slice(Box::leak(words.bytes().into_boxed_slice())),
        "bytes" => Source::Bytes(Bytes::from(words.bytes())),
        "mut" => Source::Mut(BytesMut::from(&words.bytes()[..])),
        "deque" => {
            // A ring that goes around the end of its memory has two chunks.
            let (first, last) = (words.bytes(), words.bytes());
            let mut ring = VecDeque::with_capacity(first.len() + last.len());
            ring.extend(&last);
            for byte in first.iter().rev() {
                ring.push_front(*byte);
            }
            Source::Deque(ring)
        }
        "file" => {
            let place = words.number();
            let mut cursor = Cursor::new(words.bytes());
            cursor.set_position(place);
            Source::Cursor(cursor)
        }
        "pieces" => {
            let count = words.number::<usize>();
            let pieces: Vec<Vec<u8>> = (0..count).map(|_| words.bytes()).collect();
            let mut chain = Source::Bytes(Bytes::new());
            for piece in pieces.into_iter().rev() {
                chain = Source::Chain(Box::new(Source::Bytes(piece.into()).chain(chain)));
            }
            chain
        }
        "crumbs" => {
            let count = words.number::<usize>();
            let chunks = (0..count).map(|_| words.bytes());
            Source::Crumbs(Crumbs(chunks.filter(|chunk| !chunk.is_empty()).collect()))
        }
        "chain" => {
            let first = source(words);
            Source::Chain(Box::new(first.chain(source(words))))
        }
        "take" => {
            let limit = words.number();
            Source::Take(Box::new(source(words).take(limit)))
        }
        word => bad(word),
    }
}

pub fn read(buf: &mut Source, words: &mut Words) -> String {
    let name = words.word();
    macro_rules! fixed {
        ($($name:literal, $ty:ty, $get:ident, $try_get:ident, $put:ident;)*) => {
            $(if name == concat!("get_", $name) {
                return attempt(|| buf.$get().show());
            }
            if name == concat!("try_get_", $name) {
                return attempt(|| or_short(buf.$try_get(), Plain::show));
            })*
        };
    }
    macro_rules! given {
        ($($name:literal, $ty:ty, $get:ident, $try_get:ident, $put:ident;)*) => {
            $(if name == concat!("get_", $name) {
                let nbytes = words.number();
                return attempt(|| buf.$get(nbytes).show());
            }
            if name == concat!("try_get_", $name) {
                let nbytes = words.number();
                return attempt(|| or_short(buf.$try_get(nbytes), Plain::show));
            })*
        };
    }
    fixed_widths!(fixed);
    given_widths!(given);
    match name {
        "remaining" => buf.remaining().show(),
        "chunk" => hex(buf.chunk()),
        "vectored" => {
            let mut slots = vec![IoSlice::new(&[]); words.number()];
            let count = buf.chunks_vectored(&mut slots);
            let shown: Vec<String> = slots[..count].iter().map(|slot| hex(slot)).collect();
            shown.join(" ")
        }
        "advance" => {
            let nbytes = words.number();
            attempt(|| done(buf.advance(nbytes)))
        }
        "copy_to_slice" => {
            let mut target = vec![0; words.number()];
            let answer = attempt(|| done(buf.copy_to_slice(&mut target)));
            format!("{} {}", answer, hex(&target))
        }
        "try_copy_to_slice" => {
            let mut target = vec![0; words.number()];
            let answer = attempt(|| or_short(buf.try_copy_to_slice(&mut target), done));
            format!("{} {}", answer, hex(&target))
        }
        "take" => {
            let nbytes = words.number();
            attempt(|| hex(&buf.copy_to_bytes(nbytes)))
        }
        "file_read" => {
            let mut target = vec![0; words.number()];
            let nbytes = buf.reader().read(&mut target).unwrap();
            hex(&target[..nbytes])
        }
        "drain" => {
            let count = words.number();
            hex(&IntoIter::new(buf).take(count).collect::<Vec<u8>>())
        }
        "limit" | "set_limit" => match buf {
            Source::Take(take) if name == "limit" => take.limit().show(),
            Source::Take(take) => done(take.set_limit(words.number())),
            _ => bad(name),
        },
        _ => bad(name),
    }
}
