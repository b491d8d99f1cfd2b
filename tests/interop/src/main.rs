//! A peer that speaks the typed protocol by the crates themselves.
//!
//!     interop echo                    send back what comes, over any number of connections
//!     interop send COUNT SIZE         send so many messages, close
//!     interop receive                 receive until the end, say what came
//!     interop bench-receive COUNT     say how fast that many messages came
//!     interop bench-send COUNT SIZE   say how fast that many messages went
//!     interop bench-loop COUNT SIZE   both, over loopback: a thread sends, the main thread receives
//!     interop types                   answer lines: what is read of bytes as a type; see types.rs
//!
//! All but the last two listen on 127.0.0.1, at a port that they print, or call with --connect PORT;
//! each takes one connection, but for echo. They end when their standard input does. What they say
//! is a line of JSON.
//!
//!     --version 1|2          which crate: 1.0.4 or 3.0.0; 2 unless said otherwise
//!     --checksum on|off      of version 2; on unless said otherwise
//!     --limit NBYTES         of one message; 1 MiB unless said otherwise
//!     --type TYPE            what the messages are: unit, byte, record, demo; record unless said otherwise
//!     --payload vec|bytes    how serde sees a record's payload; the same on the wire; vec unless said otherwise
//!     --buffer NBYTES        between the crate and the socket; none unless said otherwise
//!     --batch COUNT          messages for one flush, of bench-send and bench-loop; 64 unless said otherwise

mod arguments;
mod bench;
mod exchange;
mod messages;
mod socket;
mod types;
mod versions;

use arguments::Arguments;
use messages::{Demo, Message, Record, RecordOfBytes};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::{process, thread};

fn main() {
    let arguments = Arguments::parse();
    match (&arguments.kind[..], &arguments.payload[..]) {
        ("unit", _) => run::<()>(&arguments),
        ("byte", _) => run::<u8>(&arguments),
        ("demo", _) => run::<Demo>(&arguments),
        ("record", "vec") => run::<Record>(&arguments),
        ("record", "bytes") => run::<RecordOfBytes>(&arguments),
        (kind, payload) => arguments::refuse(&format!("no type {} with payload {}", kind, payload)),
    }
}

fn run<T: Message>(arguments: &Arguments) {
    let said = match &arguments.mode[..] {
        "types" => return types::answer_all(arguments.limit),
        "bench-loop" => bench::over_loopback::<T>(arguments),
        "echo" => return serve(arguments, exchange::echo::<T>),
        "send" => exchange::send::<T>(one(arguments), arguments),
        "receive" => exchange::receive::<T>(one(arguments), arguments),
        "bench-receive" => bench::receive::<T>(one(arguments), arguments),
        "bench-send" => bench::send::<T>(one(arguments), arguments),
        mode => arguments::refuse(&format!("no mode {:?}", mode)),
    };
    println!("{}", said);
}

fn one(arguments: &Arguments) -> TcpStream {
    end_with_standard_input();
    let stream = match arguments.connect {
        Some(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("nobody listens"),
        None => listen().accept().expect("no connection").0,
    };
    stream.set_nodelay(true).expect("no TCP stream");
    stream
}

fn serve(arguments: &Arguments, handle: fn(TcpStream, &Arguments) -> String) {
    end_with_standard_input();
    for stream in listen().incoming() {
        let stream = stream.expect("no connection");
        stream.set_nodelay(true).expect("no TCP stream");
        let arguments = arguments.clone();
        thread::spawn(move || println!("{}", handle(stream, &arguments)));
    }
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port to listen at");
    println!("{}", listener.local_addr().expect("no address").port());
    std::io::stdout().flush().expect("nobody reads");
    listener
}

/// So that no program is left behind when who started it is killed.
fn end_with_standard_input() {
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        process::exit(0);
    });
}
