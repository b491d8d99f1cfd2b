//! How fast the crates are.

use crate::arguments::Arguments;
use crate::messages::Message;
use crate::versions::{Receiver, Sender};
use futures_executor::block_on;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Instant;
use std::{fs, thread};

/// Time that has passed, and what of it this thread had a processor for (Linux; elsewhere 0).
struct Stopwatch {
    began: Instant,
    cpu_began: u64,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch {
            began: Instant::now(),
            cpu_began: cpu_nanoseconds(),
        }
    }

    fn say(&self, count: u64) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu_seconds = (cpu_nanoseconds() - self.cpu_began) as f64 / 1e9;
        format!(
            "{{\"count\": {}, \"seconds\": {:.6}, \"cpu_seconds\": {:.6}, \"per_second\": {:.0}}}",
            count,
            seconds,
            cpu_seconds,
            count as f64 / seconds
        )
    }
}

fn cpu_nanoseconds() -> u64 {
    let all = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = all.split_whitespace().next().unwrap_or_default();
    first.parse().unwrap_or_default()
}

/// The time begins with the first message that is there.
pub fn receive<T: Message>(stream: TcpStream, arguments: &Arguments) -> String {
    let mut receiver = Receiver::<T>::new(&stream, arguments);
    let count = arguments.count();
    block_on(async {
        let mut message = receiver.next().await;
        let stopwatch = Stopwatch::start();
        for received in 1..count {
            match message {
                Some(Ok(_)) => message = receiver.next().await,
                Some(Err(name)) => {
                    return format!("{{\"count\": {}, \"error\": {:?}}}", received - 1, name)
                }
                None => return format!("{{\"count\": {}, \"error\": \"end\"}}", received - 1),
            }
        }
        stopwatch.say(count - 1)
    })
}

pub fn send<T: Message>(stream: TcpStream, arguments: &Arguments) -> String {
    let mut sender = Sender::<T>::new(&stream, arguments);
    let (count, size) = (arguments.count(), arguments.size());
    let outcome: Result<String, String> = block_on(async {
        let stopwatch = Stopwatch::start();
        for id in 0..count {
            sender.feed(T::make(id, size)).await?;
            if id % arguments.batch == arguments.batch - 1 {
                sender.flush().await?;
            }
        }
        sender.close().await?;
        Ok(stopwatch.say(count))
    });
    outcome.unwrap_or_else(|name| format!("{{\"error\": {:?}}}", name))
}

/// What the receiver says.
pub fn over_loopback<T: Message>(arguments: &Arguments) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port to listen at");
    let stream = TcpStream::connect(listener.local_addr().expect("no address")).expect("no peer");
    let theirs = arguments.clone();
    let sending = thread::spawn(move || send::<T>(stream, &theirs));
    let said = receive::<T>(listener.accept().expect("no connection").0, arguments);
    sending.join().expect("the sender failed");
    said
}
