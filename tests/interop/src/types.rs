//! How types of other crates, and of std, look in bincode as the protocol uses it.

use bincode::Options;
use chrono::serde::{ts_milliseconds, ts_nanoseconds, ts_seconds};
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc, Weekday};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use uuid::Uuid;

fn print(rust_type: &str, value: &str, encoded: &impl Serialize) {
    let options = bincode::DefaultOptions::new()
        .with_little_endian()
        .with_varint_encoding()
        .reject_trailing_bytes();
    let bytes = options.serialize(encoded).expect("no bincode of this");
    let hex: String = bytes.iter().map(|byte| format!("{:02x}", byte)).collect();
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    println!(
        "{{\"rust_type\": \"{}\", \"value\": \"{}\", \"hex\": \"{}\"}}",
        rust_type, value, hex
    );
}

/// For each a value that can be parsed, and is shown as it was written.
macro_rules! parsed {
    ($($type:ty: $($text:literal),+;)+) => {
        $($(print(stringify!($type), $text, &$text.parse::<$type>().expect("no such value"));)+)+
    };
}

#[derive(Serialize)]
struct Compact(#[serde(with = "uuid::serde::compact")] Uuid);

#[derive(Serialize)]
struct Seconds(#[serde(with = "ts_seconds")] DateTime<Utc>);

#[derive(Serialize)]
struct Milliseconds(#[serde(with = "ts_milliseconds")] DateTime<Utc>);

#[derive(Serialize)]
struct Nanoseconds(#[serde(with = "ts_nanoseconds")] DateTime<Utc>);

pub fn print_all() {
    parsed! {
        Uuid:
            "00000000-0000-0000-0000-000000000000",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "ffffffff-ffff-ffff-ffff-ffffffffffff";
        NaiveDate: "1970-01-01", "2024-02-29", "0001-01-01", "-0044-03-15", "+12345-06-07";
        NaiveTime: "00:00:00", "23:59:59.999999999", "12:30:00.500", "12:30:00.000001", "23:59:60";
        NaiveDateTime: "1970-01-01T00:00:00", "2024-02-29T12:30:00.250", "1969-12-31T23:59:59.999999";
        DateTime<Utc>:
            "1970-01-01T00:00:00Z",
            "2024-02-29T12:30:00.250Z",
            "1969-12-31T23:59:59.999999999Z",
            "9999-12-31T23:59:59.999999Z";
        DateTime<FixedOffset>:
            "2024-02-29T12:30:00+00:00",
            "2024-02-29T12:30:00.000001+05:45",
            "2024-02-29T12:30:00-08:00";
        Weekday: "Mon", "Sun";
        IpAddr: "127.0.0.1", "255.255.255.255", "::1", "2001:db8::8a2e:370:7334";
        Ipv4Addr: "0.0.0.0", "192.168.1.250";
        Ipv6Addr: "::", "fe80::1";
        SocketAddr: "127.0.0.1:80", "[::1]:65535", "[2001:db8::1]:251";
        SocketAddrV4: "10.0.0.1:0", "10.0.0.1:250";
        SocketAddrV6: "[::]:443";
        PathBuf: "", "/usr/lib/libc.so.6", "r\u{e9}sum\u{e9}.txt", "with \"quotes\" and \\";
    }

    let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let value = Compact(text.parse().expect("no UUID"));
    print("#[serde(with = uuid::serde::compact)] Uuid", text, &value);
    for text in [
        "1970-01-01T00:00:00Z",
        "2024-02-29T12:30:00.250Z",
        "1969-12-31T23:59:59Z",
    ] {
        let value: DateTime<Utc> = text.parse().expect("no time");
        print(
            "#[serde(with = ts_seconds)] DateTime<Utc>",
            text,
            &Seconds(value),
        );
        print(
            "#[serde(with = ts_milliseconds)] DateTime<Utc>",
            text,
            &Milliseconds(value),
        );
        print(
            "#[serde(with = ts_nanoseconds)] DateTime<Utc>",
            text,
            &Nanoseconds(value),
        );
    }
    for (seconds, nanoseconds) in [
        (0, 0),
        (1, 2),
        (250, 250),
        (251, 999_999_999),
        (1_700_000_000, 123_456_789),
        (u32::MAX as u64 + 1, 500_000_000),
    ] {
        let value = Duration::new(seconds, nanoseconds);
        let text = format!("{}.{:09}", seconds, nanoseconds);
        print("Duration", &text, &value);
        print("SystemTime", &text, &(UNIX_EPOCH + value));
    }
    print(
        "Duration",
        &format!("{}.{:09}", u64::MAX, 0),
        &Duration::from_secs(u64::MAX),
    );
}
