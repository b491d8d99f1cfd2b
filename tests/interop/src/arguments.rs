//! The command line.

use std::{env, process};

#[derive(Clone)]
pub struct Arguments {
    pub mode: String,
    pub numbers: Vec<u64>,
    pub connect: Option<u16>,
    pub version: u64,
    pub checksum: bool,
    pub limit: u64,
    pub kind: String,
    pub payload: String,
    pub buffer: usize,
    pub batch: u64,
}

impl Arguments {
    pub fn parse() -> Arguments {
        let mut parsed = Arguments {
            mode: String::new(),
            numbers: Vec::new(),
            connect: None,
            version: 2,
            checksum: true,
            limit: 1 << 20,
            kind: "record".to_string(),
            payload: "vec".to_string(),
            buffer: 0,
            batch: 64,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                match word.parse() {
                    Ok(number) => parsed.numbers.push(number),
                    Err(_) => parsed.mode = word,
                }
                continue;
            }
            let value = words.next().unwrap_or_default();
            match &word[..] {
                "--connect" => parsed.connect = Some(number(&word, &value) as u16),
                "--version" => parsed.version = number(&word, &value),
                "--checksum" => parsed.checksum = value == "on",
                "--limit" => parsed.limit = number(&word, &value),
                "--type" => parsed.kind = value,
                "--payload" => parsed.payload = value,
                "--buffer" => parsed.buffer = number(&word, &value) as usize,
                "--batch" => parsed.batch = number(&word, &value).max(1),
                _ => refuse(&format!("no option {}", word)),
            }
        }
        parsed
    }

    pub fn count(&self) -> u64 {
        self.number(0, "COUNT")
    }

    pub fn size(&self) -> usize {
        self.number(1, "SIZE") as usize
    }

    fn number(&self, index: usize, name: &str) -> u64 {
        match self.numbers.get(index) {
            Some(number) => *number,
            None => refuse(&format!("{} needs {}", self.mode, name)),
        }
    }
}

fn number(word: &str, value: &str) -> u64 {
    match value.parse() {
        Ok(number) => number,
        Err(_) => refuse(&format!("{} needs a number, not {:?}", word, value)),
    }
}

pub fn refuse(complaint: &str) -> ! {
    eprintln!("interop: {}", complaint);
    process::exit(2)
}
