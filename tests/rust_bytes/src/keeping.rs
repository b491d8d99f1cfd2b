//! What is kept under names: `keep; ...`.

use crate::words::{attempt, bad, done, hex, Plain, Words};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;

pub enum Kept {
    Mut(BytesMut),
    Frozen(Bytes),
}

impl Kept {
    fn bytes(&self) -> &[u8] {
        match self {
            Kept::Mut(inner) => inner,
            Kept::Frozen(inner) => inner,
        }
    }
}

macro_rules! both {
    ($kept:expr, $inner:ident => $run:expr) => {
        match $kept {
            Kept::Mut($inner) => $run,
            Kept::Frozen($inner) => $run,
        }
    };
}

pub type Shelf<'a> = BTreeMap<&'a str, Kept>;

/// Where the command needs a name that is not there, or the other kind, the answer is `nothing`.
macro_rules! need {
    ($found:expr, $kind:path) => {
        match $found {
            Some($kind(inner)) => inner,
            _ => return "nothing".to_string(),
        }
    };
    ($found:expr) => {
        match $found {
            Some(kept) => kept,
            None => return "nothing".to_string(),
        }
    };
}

pub fn keep<'a>(shelf: &mut Shelf<'a>, words: &mut Words<'a>) -> String {
    let name = words.word();
    if name == "all" {
        let mut shown = Vec::new();
        for (name, kept) in shelf.iter() {
            let kind = if let Kept::Mut(_) = kept { '+' } else { '=' };
            shown.push(format!("{}{}{}", name, kind, hex(kept.bytes())));
        }
        return shown.join(" ");
    }
    let it = words.word();
    match name {
        // Making some: `cap` NAME CAPACITY, `zeroed` NAME NBYTES, the others NAME HEX
        "cap" | "zeroed" | "from" | "copy" | "owned" | "static" => {
            let made = match name {
                "cap" => Kept::Mut(BytesMut::with_capacity(words.number())),
                "zeroed" => Kept::Mut(BytesMut::zeroed(words.number())),
                "from" => Kept::Mut(BytesMut::from(&words.bytes()[..])),
                "copy" => Kept::Frozen(Bytes::copy_from_slice(&words.bytes())),
                "owned" => Kept::Frozen(Bytes::from(words.bytes())),
                _ => {
                    let data: &'static [u8] = Box::leak(words.bytes().into_boxed_slice());
                    Kept::Frozen(Bytes::from_static(data))
                }
            };
            shelf.insert(it, made);
            done(())
        }
        "drop" => {
            shelf.remove(it);
            done(())
        }

        // Both kinds: NAME, then offsets; the second name is where the other part goes
        "len" => need!(shelf.get(it)).bytes().len().show(),
        "get" => hex(need!(shelf.get(it)).bytes()),
        "debug" => both!(need!(shelf.get(it)), inner => format!("{:?}", inner)),
        "lower" => both!(need!(shelf.get(it)), inner => format!("{:x}", inner)),
        "upper" => both!(need!(shelf.get(it)), inner => format!("{:X}", inner)),
        "compare" => {
            let other = words.word();
            let (left, right) = (need!(shelf.get(it)), need!(shelf.get(other)));
            match (left, right) {
                (Kept::Mut(left), Kept::Mut(right)) => format!("{:?}", left.cmp(right)),
                (Kept::Mut(left), Kept::Frozen(right)) => {
                    let order = format!("{:?}", left[..].cmp(&right[..]));
                    assert_eq!(left == right, order == "Equal");
                    order
                }
                (Kept::Frozen(left), Kept::Mut(right)) => {
                    let order = format!("{:?}", left[..].cmp(&right[..]));
                    assert_eq!(left == right, order == "Equal");
                    order
                }
                (Kept::Frozen(left), Kept::Frozen(right)) => format!("{:?}", left.cmp(right)),
            }
        }
        "compare_bytes" => {
            let other = words.bytes();
            both!(need!(shelf.get(it)), inner => format!("{:?}", inner.partial_cmp(&other).unwrap()))
        }
        "advance" => {
            let nbytes = words.number();
            both!(need!(shelf.get_mut(it)), inner => attempt(|| done(inner.advance(nbytes))))
        }
        "truncate" => {
            let nbytes = words.number();
            both!(need!(shelf.get_mut(it)), inner => attempt(|| done(inner.truncate(nbytes))))
        }
        "clear" => both!(need!(shelf.get_mut(it)), inner => done(inner.clear())),
        "split_to" | "split_off" => {
            let at = words.number();
            let to = words.word();
            let mut part = None;
            let answer = match need!(shelf.get_mut(it)) {
                Kept::Mut(inner) => attempt(|| {
                    part = Some(Kept::Mut(if name == "split_to" {
                        inner.split_to(at)
                    } else {
                        inner.split_off(at)
                    }));
                    done(())
                }),
                Kept::Frozen(inner) => attempt(|| {
                    part = Some(Kept::Frozen(if name == "split_to" {
                        inner.split_to(at)
                    } else {
                        inner.split_off(at)
                    }));
                    done(())
                }),
            };
            if let Some(part) = part {
                shelf.insert(to, part);
            }
            answer
        }

        // Bytes only
        "clone" => {
            let to = words.word();
            let copy = need!(shelf.get(it), Kept::Frozen).clone();
            shelf.insert(to, Kept::Frozen(copy));
            done(())
        }
        "range" | "range_ref" => {
            let (start, stop): (usize, usize) = (words.number(), words.number());
            let to = words.word();
            let mut part = None;
            let whole = need!(shelf.get(it), Kept::Frozen);
            let answer = attempt(|| {
                part = Some(Kept::Frozen(if name == "range" {
                    whole.slice(start..stop)
                } else {
                    whole.slice_ref(&whole[start..stop])
                }));
                done(())
            });
            if let Some(part) = part {
                shelf.insert(to, part);
            }
            answer
        }
        "slice_ref_of" => {
            let other = words.word();
            let whole = need!(shelf.get(it), Kept::Frozen);
            let part = need!(shelf.get(other), Kept::Frozen);
            attempt(|| hex(&whole.slice_ref(part)))
        }
        "unique" => need!(shelf.get(it), Kept::Frozen).is_unique().to_string(),
        "thaw" => {
            need!(shelf.get(it), Kept::Frozen);
            let kept = need!(shelf.remove(it), Kept::Frozen);
            match kept.try_into_mut() {
                Ok(inner) => {
                    shelf.insert(it, Kept::Mut(inner));
                    done(())
                }
                Err(inner) => {
                    shelf.insert(it, Kept::Frozen(inner));
                    "shared".to_string()
                }
            }
        }

        // BytesMut only
        "freeze" => {
            need!(shelf.get(it), Kept::Mut);
            let inner = need!(shelf.remove(it), Kept::Mut);
            shelf.insert(it, Kept::Frozen(inner.freeze()));
            done(())
        }
        "put_slice" => {
            let data = words.bytes();
            done(need!(shelf.get_mut(it), Kept::Mut).put_slice(&data))
        }
        "put_u32_be" => {
            let value = words.number();
            done(need!(shelf.get_mut(it), Kept::Mut).put_u32(value))
        }
        "put_repeated" => {
            let (value, count) = (words.number(), words.number());
            done(need!(shelf.get_mut(it), Kept::Mut).put_bytes(value, count))
        }
        "extend" => {
            let data = words.bytes();
            done(need!(shelf.get_mut(it), Kept::Mut).extend_from_slice(&data))
        }
        "extend_items" => {
            let data = words.bytes();
            done(need!(shelf.get_mut(it), Kept::Mut).extend(data))
        }
        "resize" => {
            let (nbytes, value) = (words.number(), words.number());
            done(need!(shelf.get_mut(it), Kept::Mut).resize(nbytes, value))
        }
        "reserve" => {
            let nbytes = words.number();
            done(need!(shelf.get_mut(it), Kept::Mut).reserve(nbytes))
        }
        "reclaim" => {
            let nbytes = words.number();
            need!(shelf.get_mut(it), Kept::Mut)
                .try_reclaim(nbytes)
                .to_string()
        }
        "overwrite" => {
            let at: usize = words.number();
            let data = words.bytes();
            let inner = need!(shelf.get_mut(it), Kept::Mut);
            attempt(|| done(inner[at..at + data.len()].copy_from_slice(&data)))
        }
        "split" => {
            let to = words.word();
            let part = need!(shelf.get_mut(it), Kept::Mut).split();
            shelf.insert(to, Kept::Mut(part));
            done(())
        }
        "unsplit" | "append" => {
            let other = words.word();
            need!(shelf.get(it), Kept::Mut);
            need!(shelf.get(other), Kept::Mut);
            if it == other {
                return "nothing".to_string();
            }
            let last = need!(shelf.remove(other), Kept::Mut);
            let first = need!(shelf.get_mut(it), Kept::Mut);
            let end = first.as_ptr() as usize + first.len();
            let joined = first.is_empty() || last.is_empty() || end == last.as_ptr() as usize;
            first.unsplit(last);
            if joined { "joined" } else { "copied" }.to_string()
        }
        _ => bad(name),
    }
}
