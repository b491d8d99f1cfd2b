//! What the messages are. Each is made of its number and a size, so that both ends know it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub trait Message: Serialize + DeserializeOwned + Unpin + Send + 'static {
    fn make(id: u64, size: usize) -> Self;

    fn id(&self) -> u64 {
        0
    }

    fn payload(&self) -> &[u8] {
        &[]
    }
}

/// Byte i of payload `id` is the low byte of id + i.
fn payload_of(id: u64, size: usize) -> Vec<u8> {
    (0..size as u64).map(|i| (id + i) as u8).collect()
}

fn name_of(id: u64) -> String {
    format!("name{:04}", id % 10_000)
}

#[derive(Serialize, Deserialize)]
pub struct Record {
    id: u64,
    name: String,
    payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub struct RecordOfBytes {
    id: u64,
    name: String,
    #[serde(with = "serde_bytes")]
    payload: Vec<u8>,
}

macro_rules! record {
    ($name:ident) => {
        impl Message for $name {
            fn make(id: u64, size: usize) -> Self {
                $name {
                    id,
                    name: name_of(id),
                    payload: payload_of(id, size),
                }
            }

            fn id(&self) -> u64 {
                self.id
            }

            fn payload(&self) -> &[u8] {
                &self.payload
            }
        }
    };
}

record!(Record);
record!(RecordOfBytes);

impl Message for () {
    fn make(_id: u64, _size: usize) -> Self {}
}

impl Message for u8 {
    fn make(id: u64, _size: usize) -> Self {
        id as u8
    }

    fn id(&self) -> u64 {
        *self as u64
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Kind {
    Ping,
    Text(String),
    Pair(u32, i64),
    Blob { offset: u64, data: Vec<u8> },
}

/// A bit of everything.
#[derive(Debug, Serialize, Deserialize)]
pub struct Demo {
    id: u64,
    name: String,
    score: f64,
    delta: i32,
    flag: bool,
    tag: Option<char>,
    kind: Kind,
    tags: Vec<String>,
    counts: BTreeMap<String, u32>,
    pos: (i16, u16),
    raw: [u8; 4],
}

impl Message for Demo {
    fn make(id: u64, size: usize) -> Self {
        let number = id as i64;
        Demo {
            id,
            name: name_of(id),
            score: id as f64 / 8.0,
            delta: -(number as i32) * 1_000,
            flag: id % 2 == 1,
            tag: if id % 3 == 0 { None } else { Some('\u{e9}') },
            kind: match id % 4 {
                0 => Kind::Ping,
                1 => Kind::Text("\u{1f980}".repeat(id as usize % 5)),
                2 => Kind::Pair(id as u32 * 70_000, -number),
                _ => Kind::Blob {
                    offset: id << 33,
                    data: payload_of(id, size),
                },
            },
            tags: (0..id % 4).map(name_of).collect(),
            counts: (0..id % 3).map(|i| (name_of(i), i as u32 * 300)).collect(),
            pos: (-(number as i16), id as u16),
            raw: [0, 1, 254, id as u8],
        }
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn payload(&self) -> &[u8] {
        match &self.kind {
            Kind::Blob { data, .. } => data,
            _ => &[],
        }
    }
}
