//! The two crates behind one pair of types.

use crate::arguments::{refuse, Arguments};
use crate::messages::Message;
use crate::socket::{self, SPINS};
use async_io_typed as v2;
use async_io_typed_v1 as v1;
use futures_util::{SinkExt, StreamExt};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

enum ReadTyped<T: Message> {
    V1(v1::AsyncReadTyped<socket::Source, T>),
    V2(v2::AsyncReadTyped<socket::Source, T>),
}

pub struct Receiver<T: Message> {
    inner: ReadTyped<T>,
    has_ended: Arc<AtomicBool>,
}

impl<T: Message> Receiver<T> {
    pub fn new(stream: &TcpStream, arguments: &Arguments) -> Self {
        let limit = arguments.limit;
        let (raw, has_ended) = socket::source(stream, arguments.buffer);
        let inner = match arguments.version {
            1 => ReadTyped::V1(v1::AsyncReadTyped::new_with_limit(raw, limit)),
            2 => {
                let checks = arguments.checksum.into();
                ReadTyped::V2(v2::AsyncReadTyped::new_with_limit(raw, limit, checks))
            }
            version => refuse(&format!("no version {}", version)),
        };
        Receiver { inner, has_ended }
    }

    pub async fn next(&mut self) -> Option<Result<T, String>> {
        match &mut self.inner {
            ReadTyped::V1(inner) => inner.next().await.map(|it| it.map_err(|e| v1_name(&e))),
            ReadTyped::V2(inner) => inner.next().await.map(|it| it.map_err(|e| v2_name(&e))),
        }
    }

    /// Whether the stream was seen to end: false after a closing byte.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

enum WriteTyped<T: Message> {
    V1(v1::AsyncWriteTyped<socket::Sink, T>),
    V2(v2::AsyncWriteTyped<socket::Sink, T>),
}

pub struct Sender<T: Message>(WriteTyped<T>);

impl<T: Message> Sender<T> {
    pub fn new(stream: &TcpStream, arguments: &Arguments) -> Self {
        let limit = arguments.limit;
        let raw = socket::sink(stream, arguments.buffer);
        Sender(match arguments.version {
            1 => WriteTyped::V1(v1::AsyncWriteTyped::new_with_limit(raw, limit)),
            2 => {
                let sends = arguments.checksum.into();
                WriteTyped::V2(v2::AsyncWriteTyped::new_with_limit(raw, limit, sends))
            }
            version => refuse(&format!("no version {}", version)),
        })
    }

    pub async fn feed(&mut self, message: T) -> Result<(), String> {
        match &mut self.0 {
            WriteTyped::V1(inner) => inner.feed(message).await.map_err(|e| v1_name(&e)),
            WriteTyped::V2(inner) => inner.feed(message).await.map_err(|e| v2_name(&e)),
        }
    }

    pub async fn flush(&mut self) -> Result<(), String> {
        match &mut self.0 {
            WriteTyped::V1(inner) => inner.flush().await.map_err(|e| v1_name(&e)),
            WriteTyped::V2(inner) => inner.flush().await.map_err(|e| v2_name(&e)),
        }
    }

    pub async fn send(&mut self, message: T) -> Result<(), String> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Flushes first: the crates leave the closing byte out if anything is left to be sent.
    pub async fn close(&mut self) -> Result<(), String> {
        self.flush().await?;
        match &mut self.0 {
            WriteTyped::V1(inner) => inner.close().await.map_err(|e| v1_name(&e)),
            WriteTyped::V2(inner) => inner.close().await.map_err(|e| v2_name(&e)),
        }
    }
}

fn v1_name(error: &v1::Error) -> String {
    match error {
        v1::Error::Io(error) => io_name(error),
        v1::Error::Bincode(error) => bincode_name(error),
        v1::Error::SentMessageTooLarge => "SentMessageTooLarge".to_string(),
        v1::Error::ReceivedMessageTooLarge => "ReceivedMessageTooLarge".to_string(),
    }
}

fn v2_name(error: &v2::Error) -> String {
    match error {
        v2::Error::Io(error) => io_name(error),
        v2::Error::Bincode(error) => bincode_name(error),
        v2::Error::SentMessageTooLarge => "SentMessageTooLarge".to_string(),
        v2::Error::ReceivedMessageTooLarge => "ReceivedMessageTooLarge".to_string(),
        v2::Error::ChecksumMismatch { .. } => "ChecksumMismatch".to_string(),
        v2::Error::ProtocolVersionMismatch { .. } => "ProtocolVersionMismatch".to_string(),
        v2::Error::ChecksumHandshakeFailed { .. } => "ChecksumHandshakeFailed".to_string(),
    }
}

fn io_name(error: &std::io::Error) -> String {
    if error.to_string() == SPINS {
        return SPINS.to_string();
    }
    format!("Io {:?}", error.kind())
}

fn bincode_name(error: &bincode::Error) -> String {
    let shown = format!("{:?}", error);
    let name: String = shown.chars().take_while(|c| c.is_alphanumeric()).collect();
    format!("Bincode {}", name)
}
