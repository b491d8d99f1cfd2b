//! Plays scripts against the crate `bytes`, so that test_rust_bytes.py can compare.
//!
//! A line of standard input is a script: what it is about, then commands, separated by `;`. A line
//! of standard output has the answers, one for each command, separated by tabs. What the crate
//! refuses by a panic is answered with `refused`, what a `try_` method refuses with `short`, how
//! many bytes were requested, and how many are there. A script that makes no sense ends the program
//! with status 2: that is a mistake of the test's.
//!
//!     read SOURCE; ...    what reads: the commands are in reading.rs
//!     write TARGET; ...   what is written to: writing.rs
//!     keep; ...           Bytes and BytesMut under names: keeping.rs
//!
//! Bytes are in hexadecimal digits, none of them as `-`; floats as the digits of their bits.

#[macro_use]
mod numbers;
mod keeping;
mod reading;
mod words;
mod writing;

use keeping::{keep, Shelf};
use reading::{read, source, Source};
use std::io::{BufRead, Write};
use words::{bad, Words};
use writing::{target, write, Target};

fn play(line: &str) -> String {
    let mut commands = line.split(';');
    let mut head = Words(commands.next().unwrap_or("").split_ascii_whitespace());
    let kind = head.word();
    let mut reading = Source::Slice(&[]);
    let mut writing = Target::Vec(Vec::new());
    let mut shelf = Shelf::new();
    match kind {
        "read" => reading = source(&mut head),
        "write" => writing = target(&mut head),
        "keep" => (),
        _ => bad(kind),
    }
    head.end();
    let mut answers = Vec::new();
    for command in commands {
        let mut words = Words(command.split_ascii_whitespace());
        answers.push(match kind {
            "read" => read(&mut reading, &mut words),
            "write" => write(&mut writing, &mut words),
            _ => keep(&mut shelf, &mut words),
        });
        if answers.last().map_or(true, |answer| answer != "nothing") {
            words.end();
        }
    }
    answers.join("\t")
}

fn main() {
    std::panic::set_hook(Box::new(|_| {})); // what is refused is in the answer
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap_or_else(|_| bad("what is no text"));
        if writeln!(out, "{}", play(&line))
            .and_then(|_| out.flush())
            .is_err()
        {
            return;
        }
    }
}
