//! What is written to: `write TARGET; ...`.

use crate::reading::source;
use crate::words::{attempt, bad, done, hex, Plain, Words};
use bytes::buf::{Chain, Limit, UninitSlice};
use bytes::{Buf, BufMut, BytesMut};
use std::io::Write;

pub enum Target {
    Fixed(*const u8, &'static mut [u8]), // where it begins, and what is not filled yet
    Vec(Vec<u8>),
    Mut(BytesMut),
    Chain(Box<Chain<Target, Target>>),
    Limit(Box<Limit<Target>>),
}

macro_rules! into {
    ($target:expr, $inner:ident => $run:expr) => {
        match $target {
            Target::Fixed(_, $inner) => $run,
            Target::Vec($inner) => $run,
            Target::Mut($inner) => $run,
            Target::Chain($inner) => $run,
            Target::Limit($inner) => $run,
        }
    };
}

unsafe impl BufMut for Target {
    fn remaining_mut(&self) -> usize {
        into!(self, inner => inner.remaining_mut())
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        into!(self, inner => inner.chunk_mut())
    }

    unsafe fn advance_mut(&mut self, nbytes: usize) {
        into!(self, inner => inner.advance_mut(nbytes))
    }

    fn put_slice(&mut self, data: &[u8]) {
        into!(self, inner => inner.put_slice(data))
    }

    fn put_bytes(&mut self, value: u8, count: usize) {
        into!(self, inner => inner.put_bytes(value, count))
    }
}

/// `fixed` NBYTES; `vec`; `mut` CAPACITY; `chain` TARGET TARGET; `limit` LIMIT TARGET.
pub fn target(words: &mut Words) -> Target {
    match words.word() {
        "fixed" => {
            let room = vec![0; words.number()].into_boxed_slice();
            let room: &'static mut [u8] = Box::leak(room);
            Target::Fixed(room.as_ptr(), room)
        }
        "vec" => Target::Vec(Vec::new()),
        "mut" => Target::Mut(BytesMut::with_capacity(words.number())),
        "chain" => {
            let first = target(words);
            Target::Chain(Box::new(first.chain_mut(target(words))))
        }
        "limit" => {
            let limit = words.number();
            Target::Limit(Box::new(target(words).limit(limit)))
        }
        word => bad(word),
    }
}

fn contents(target: &Target) -> Vec<u8> {
    match target {
        Target::Fixed(start, rest) => {
            let nbytes = rest.as_ptr() as usize - *start as usize;
            // The memory is never freed, and this part of it is initialized and not lent.
            unsafe { std::slice::from_raw_parts(*start, nbytes) }.to_vec()
        }
        Target::Vec(inner) => inner.clone(),
        Target::Mut(inner) => inner.to_vec(),
        Target::Chain(inner) => [contents(inner.first_ref()), contents(inner.last_ref())].concat(),
        Target::Limit(inner) => contents(inner.get_ref()),
    }
}

pub fn write(buf: &mut Target, words: &mut Words) -> String {
    let name = words.word();
    macro_rules! fixed {
        ($($name:literal, $ty:ty, $get:ident, $try_get:ident, $put:ident;)*) => {
            $(if name == concat!("put_", $name) {
                let value = words.number::<$ty>();
                return attempt(|| done(buf.$put(value)));
            })*
        };
    }
    macro_rules! given {
        ($($name:literal, $ty:ty, $get:ident, $try_get:ident, $put:ident;)*) => {
            $(if name == concat!("put_", $name) {
                let value = words.number::<$ty>();
                let nbytes = words.number();
                return attempt(|| done(buf.$put(value, nbytes)));
            })*
        };
    }
    fixed_widths!(fixed);
    given_widths!(given);
    match name {
        "remaining_mut" => buf.remaining_mut().show(),
        "lent" => buf.chunk_mut().len().show(),
        "contents" => hex(&contents(buf)),
        "put_slice" => {
            let data = words.bytes();
            attempt(|| done(buf.put_slice(&data)))
        }
        "put_repeated" => {
            let (value, count) = (words.number(), words.number());
            attempt(|| done(buf.put_bytes(value, count)))
        }
        "put" => {
            let mut from = source(words);
            let answer = attempt(|| done(buf.put(&mut from)));
            format!("{} {}", answer, from.remaining())
        }
        "fill" => {
            // As a caller does who writes to what is lent.
            let data = words.bytes();
            let mut left = &data[..];
            while !left.is_empty() && buf.has_remaining_mut() {
                let room = buf.chunk_mut();
                let nbytes = room.len().min(left.len());
                room[..nbytes].copy_from_slice(&left[..nbytes]);
                unsafe { buf.advance_mut(nbytes) };
                left = &left[nbytes..];
            }
            (data.len() - left.len()).show()
        }
        "file_write" => {
            let data = words.bytes();
            buf.writer().write(&data).unwrap().show()
        }
        "limit" | "set_limit" => match buf {
            Target::Limit(limit) if name == "limit" => Limit::<Target>::limit(limit).show(),
            Target::Limit(limit) => done(limit.set_limit(words.number())),
            _ => bad(name),
        },
        _ => bad(name),
    }
}
