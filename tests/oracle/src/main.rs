//! Runs worlds of random bytes, shrinks the bytes of one that fails, and traces it.
//!
//! `cargo run --profile checked -p oracle -- [--seconds N] [--seed N] [--file F]`; a file's world
//! is traced.

use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static SEED: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut seconds, mut seed, mut file) = (60, 0_u64, None);
    while let (Some(flag), Some(value)) = (args.next(), args.next()) {
        match &*flag {
            "--seconds" => seconds = value.parse().expect("a number of seconds"),
            "--seed" => seed = value.parse().expect("a number"),
            "--file" => file = Some(value),
            _ => panic!("unknown: {flag}"),
        }
    }
    if let Some(file) = file {
        let bytes = std::fs::read(file).expect("a file of bytes");
        exit(i32::from(oracle::run(&bytes, true).is_err()));
    }
    // A panic of the crate is caught, and told as what is wrong.
    std::panic::set_hook(Box::new(|_| {}));
    watch();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut worlds = 0_u64;
    while Instant::now() < until {
        seed += 1;
        SEED.store(seed, Ordering::Relaxed);
        let bytes = oracle::random(seed);
        if let Err(why) = oracle::run(&bytes, false) {
            println!("seed {seed}, after {worlds} worlds: {why}");
            // The shrinking may take long.
            SEED.store(0, Ordering::Relaxed);
            let small = shrink(bytes, &subject(&why));
            let name = format!("world-{seed}.bytes");
            std::fs::write(&name, &small).expect("a writable folder");
            println!("{} bytes in {name}, whose world goes:", small.len());
            let _ = oracle::run(&small, true);
            exit(1);
        }
        worlds += 1;
    }
    println!("{worlds} worlds, up to seed {seed}");
}

/// Ends the process if one world takes very long.
fn watch() {
    std::thread::spawn(|| {
        loop {
            let seed = SEED.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(60));
            if seed != 0 && SEED.load(Ordering::Relaxed) == seed {
                println!("seed {seed} takes more than a minute");
                exit(2);
            }
        }
    });
}

/// Returns what a fault is about, without its numbers.
fn subject(why: &str) -> String {
    why.chars().filter(|letter| !letter.is_ascii_digit()).take(40).collect()
}

/// Returns fewer and simpler bytes with which the same goes wrong.
fn shrink(mut bytes: Vec<u8>, wrong: &str) -> Vec<u8> {
    let fails = |bytes: &[u8]| oracle::run(bytes, false).is_err_and(|why| subject(&why) == wrong);
    loop {
        let before = bytes.clone();
        let mut size = bytes.len().next_power_of_two();
        while size > 0 {
            let mut at = 0;
            while at < bytes.len() {
                let end = (at + size).min(bytes.len());
                let (mut fewer, mut zeros) = (bytes.clone(), bytes.clone());
                fewer.drain(at..end);
                zeros[at..end].fill(0);
                if fails(&fewer) {
                    bytes = fewer;
                    continue;
                }
                if zeros != bytes && fails(&zeros) {
                    bytes = zeros;
                }
                at += size;
            }
            size /= 2;
        }
        for at in 0..bytes.len() {
            for byte in 0..bytes[at].min(32) {
                let mut simpler = bytes.clone();
                simpler[at] = byte;
                if fails(&simpler) {
                    bytes = simpler;
                    break;
                }
            }
        }
        if bytes == before {
            return bytes;
        }
    }
}
