//! Echo, send, receive: what a test plays with.

use crate::arguments::Arguments;
use crate::messages::Message;
use crate::socket::SPINS;
use crate::versions::{Receiver, Sender};
use futures_executor::block_on;
use std::net::TcpStream;

/// What came, and how it ended.
#[derive(Default)]
struct Came {
    count: u64,
    ids: u64,
    crc: Crc32,
    /// Each with the number of messages that had come before it.
    errors: Vec<String>,
}

impl Came {
    fn message<T: Message>(&mut self, message: &T) {
        self.count += 1;
        self.ids = self.ids.wrapping_add(message.id());
        self.crc.add(message.payload());
    }

    fn error(&mut self, name: &str) {
        self.errors.push(format!("[{}, {:?}]", self.count, name));
    }

    fn say(&self, ended: &str) -> String {
        format!(
            "{{\"count\": {}, \"ids\": {}, \"crc32\": {}, \"errors\": [{}], \"ended\": {:?}}}",
            self.count,
            self.ids,
            self.crc.value(),
            self.errors.join(", "),
            ended
        )
    }
}

/// Return the next message that is one, or how it came about that there is none.
async fn next_message<T: Message>(
    receiver: &mut Receiver<T>,
    came: &mut Came,
) -> Result<T, String> {
    loop {
        match receiver.next().await {
            Some(Ok(message)) => {
                came.message(&message);
                return Ok(message);
            }
            Some(Err(name)) if name == SPINS || name.starts_with("Io") => return Err(name),
            Some(Err(name)) => came.error(&name),
            None if receiver.has_ended() => return Err("end without goodbye".to_string()),
            None => return Err("end".to_string()),
        }
    }
}

pub fn echo<T: Message>(stream: TcpStream, arguments: &Arguments) -> String {
    let mut receiver = Receiver::<T>::new(&stream, arguments);
    let mut sender = Sender::<T>::new(&stream, arguments);
    let mut came = Came::default();
    let ended = block_on(async {
        loop {
            let message = match next_message(&mut receiver, &mut came).await {
                Ok(message) => message,
                Err(ended) => return ended,
            };
            if let Err(name) = sender.send(message).await {
                return format!("sending: {}", name);
            }
        }
    });
    let _ = block_on(sender.close());
    came.say(&ended)
}

pub fn receive<T: Message>(stream: TcpStream, arguments: &Arguments) -> String {
    let mut receiver = Receiver::<T>::new(&stream, arguments);
    let mut came = Came::default();
    let ended = block_on(async {
        loop {
            if let Err(ended) = next_message(&mut receiver, &mut came).await {
                return ended;
            }
        }
    });
    came.say(&ended)
}

pub fn send<T: Message>(stream: TcpStream, arguments: &Arguments) -> String {
    let mut sender = Sender::<T>::new(&stream, arguments);
    let mut sent = 0;
    let outcome = block_on(async {
        for id in 0..arguments.count() {
            sender.send(T::make(id, arguments.size())).await?;
            sent += 1;
        }
        sender.close().await
    });
    let ended = outcome.err().unwrap_or_else(|| "closed".to_string());
    format!("{{\"count\": {}, \"ended\": {:?}}}", sent, ended)
}

/// CRC-32 as zlib computes it.
struct Crc32(u32);

impl Default for Crc32 {
    fn default() -> Self {
        Crc32(!0)
    }
}

impl Crc32 {
    fn add(&mut self, data: &[u8]) {
        for byte in data {
            self.0 ^= *byte as u32;
            for _ in 0..8 {
                self.0 = (self.0 >> 1) ^ (0xEDB8_8320 & (self.0 & 1).wrapping_neg());
            }
        }
    }

    fn value(&self) -> u32 {
        !self.0
    }
}
