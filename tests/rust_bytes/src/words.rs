//! What is in a script, and what is in an answer.

use bytes::TryGetError;
use std::panic::{catch_unwind, AssertUnwindSafe};

pub struct Words<'a>(pub std::str::SplitAsciiWhitespace<'a>);

pub fn bad(what: &str) -> ! {
    eprintln!("this makes no sense: {}", what);
    std::process::exit(2)
}

impl<'a> Words<'a> {
    pub fn word(&mut self) -> &'a str {
        self.0
            .next()
            .unwrap_or_else(|| bad("a command that ends too early"))
    }

    pub fn number<T: Plain>(&mut self) -> T {
        T::read(self.word())
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        let word = self.word();
        let digits = if word == "-" { "" } else { word };
        if digits.len() % 2 != 0 {
            bad(word)
        }
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| bad(word)))
            .collect()
    }

    pub fn end(&mut self) {
        if let Some(word) = self.0.next() {
            bad(word)
        }
    }
}

pub fn hex(data: &[u8]) -> String {
    if data.is_empty() {
        return "-".to_string();
    }
    data.iter().map(|byte| format!("{:02x}", byte)).collect()
}

/// A number as scripts have it.
pub trait Plain: Sized {
    fn read(word: &str) -> Self;
    fn show(self) -> String;
}

macro_rules! plain_integers {
    ($($ty:ty)*) => {
        $(impl Plain for $ty {
            fn read(word: &str) -> Self {
                word.parse().unwrap_or_else(|_| bad(word))
            }
            fn show(self) -> String {
                self.to_string()
            }
        })*
    };
}

plain_integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128);

macro_rules! plain_floats {
    ($($ty:ty, $bits:ty, $layout:literal;)*) => {
        $(impl Plain for $ty {
            fn read(word: &str) -> Self {
                <$ty>::from_bits(<$bits>::from_str_radix(word, 16).unwrap_or_else(|_| bad(word)))
            }
            fn show(self) -> String {
                format!($layout, self.to_bits())
            }
        })*
    };
}

plain_floats!(f32, u32, "{:08x}"; f64, u64, "{:016x}";);

pub fn done(_: ()) -> String {
    "ok".to_string()
}

pub fn or_short<T>(found: Result<T, TryGetError>, show: impl FnOnce(T) -> String) -> String {
    match found {
        Ok(value) => show(value),
        Err(error) => format!("short {} {}", error.requested, error.available),
    }
}

/// Run what may panic, and nothing else: arguments are read before.
pub fn attempt(run: impl FnOnce() -> String) -> String {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| "refused".to_string())
}
