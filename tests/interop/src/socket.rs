//! A socket as the crates want it, and what they do not tell of it.

use futures_util::io::AllowStdIo;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What the error says when the crate would read for ever.
pub const SPINS: &str = "spins";

/// A source that remembers whether it has ended. A reader that asks again after the end, which the
/// crates do for ever inside a message, gets an error.
struct Watched {
    stream: TcpStream,
    has_ended: Arc<AtomicBool>,
}

impl Read for Watched {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let nbytes = self.stream.read(room)?;
        if nbytes == 0 && self.has_ended.swap(true, Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Other, SPINS));
        }
        Ok(nbytes)
    }
}

pub type Source = AllowStdIo<Box<dyn Read + Send>>;
pub type Sink = AllowStdIo<Box<dyn Write + Send>>;

/// The flag says whether the end of the stream was seen, which the closing byte comes before.
pub fn source(stream: &TcpStream, buffer: usize) -> (Source, Arc<AtomicBool>) {
    let has_ended = Arc::new(AtomicBool::new(false));
    let watched = Watched {
        stream: stream.try_clone().expect("no more descriptors"),
        has_ended: has_ended.clone(),
    };
    let source: Box<dyn Read + Send> = match buffer {
        0 => Box::new(watched),
        _ => Box::new(BufReader::with_capacity(buffer, watched)),
    };
    (AllowStdIo::new(source), has_ended)
}

pub fn sink(stream: &TcpStream, buffer: usize) -> Sink {
    let stream = stream.try_clone().expect("no more descriptors");
    AllowStdIo::new(match buffer {
        0 => Box::new(stream),
        _ => Box::new(BufWriter::with_capacity(buffer, stream)),
    })
}
