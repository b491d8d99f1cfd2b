//! What the crates make of bytes: a line `TYPE HEX` is answered by `ok`, the bytes that they write
//! of the value they have read, and the value; or by `err` and why it is none.

use crate::messages::{Demo, Kind};
use bincode::Options;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{stdin, stdout, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// As async-io-typed has them.
fn options(limit: u64) -> impl Options {
    bincode::DefaultOptions::new()
        .with_limit(limit)
        .with_little_endian()
        .with_varint_encoding()
        .reject_trailing_bytes()
}

fn answer<T: DeserializeOwned + Serialize + Debug>(bytes: &[u8], limit: u64) -> String {
    match options(limit).deserialize::<T>(bytes) {
        Ok(value) => {
            // What was read of bytes that say it at length can be written without a limit.
            let written = options(u64::MAX).serialize(&value).expect("not written");
            format!("ok\t{}\t{:?}", hex(&written), value)
        }
        Err(error) => format!("err\t{}", error.to_string().replace('\n', " ")),
    }
}

macro_rules! answers {
    ($name:expr, $bytes:expr, $limit:expr, $($text:literal => $type:ty,)+) => {
        match $name {
            $($text => answer::<$type>($bytes, $limit),)+
            name => format!("no type {}", name),
        }
    };
}

pub fn answer_all(limit: u64) {
    for line in stdin().lock().lines() {
        let line = line.expect("no line");
        let (name, digits) = line.rsplit_once(' ').expect("no TYPE HEX");
        let bytes = unhex(digits);
        let said = answers!(name, &bytes, limit,
            "bool" => bool,
            "u8" => u8,
            "u16" => u16,
            "u32" => u32,
            "u64" => u64,
            "u128" => u128,
            "i8" => i8,
            "i16" => i16,
            "i32" => i32,
            "i64" => i64,
            "i128" => i128,
            "f32" => f32,
            "f64" => f64,
            "char" => char,
            "String" => String,
            "()" => (),
            "Option<u32>" => Option<u32>,
            "(u8, String)" => (u8, String),
            "Vec<u8>" => Vec<u8>,
            "Vec<String>" => Vec<String>,
            "[u16; 3]" => [u16; 3],
            "BTreeMap<String, u32>" => BTreeMap<String, u32>,
            "DemoKind" => Kind,
            "Demo" => Demo,
            "uuid::Uuid" => Uuid,
            "chrono::DateTime<Utc>" => DateTime<Utc>,
            "chrono::NaiveDateTime" => NaiveDateTime,
            "chrono::NaiveDate" => NaiveDate,
            "chrono::NaiveTime" => NaiveTime,
            "std::time::Duration" => Duration,
            "std::time::SystemTime" => SystemTime,
            "std::net::IpAddr" => IpAddr,
            "std::net::Ipv4Addr" => Ipv4Addr,
            "std::net::Ipv6Addr" => Ipv6Addr,
            "std::net::SocketAddr" => SocketAddr,
            "std::net::SocketAddrV4" => SocketAddrV4,
            "std::net::SocketAddrV6" => SocketAddrV6,
            "std::path::PathBuf" => PathBuf,
        );
        println!("{}", said);
        stdout().flush().expect("nobody reads");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{:02x}", byte)).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("no hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}
