//! Runs worlds of random bytes, and shrinks the bytes of one that fails.
//!
//! `cargo run --profile checked -p fuzz -- [--seconds N] [--seed N] [--file F]`; a file's world is
//! traced.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
        return fuzz::run(&bytes, true);
    }
    watch();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut worlds = 0_u64;
    while Instant::now() < until {
        seed += 1;
        SEED.store(seed, Ordering::Relaxed);
        let bytes = fuzz::random(seed);
        if let Err(why) = check(&bytes) {
            println!("seed {seed}: {why}");
            // The shrinking may take long.
            SEED.store(0, Ordering::Relaxed);
            let small = shrink(bytes, &why);
            let name = format!("world-{seed}.bytes");
            std::fs::write(&name, &small).expect("a writable folder");
            println!("{} bytes in {name}: {small:?}", small.len());
            std::process::exit(1);
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
                std::process::exit(2);
            }
        }
    });
}

/// Returns what is wrong in a world of these bytes. The panics of its children print nothing.
fn check(bytes: &[u8]) -> Result<(), String> {
    std::panic::set_hook(Box::new(|_| {}));
    let ran = catch_unwind(AssertUnwindSafe(|| fuzz::run(bytes, false)));
    ran.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("?", |text| text).to_owned(),
    })
}

/// Returns fewer bytes with which the same goes wrong.
fn shrink(mut bytes: Vec<u8>, why: &str) -> Vec<u8> {
    // The place in the source.
    let place = |why: &str| why.rsplit('(').next().map(str::to_owned);
    let fails = |bytes: &[u8]| check(bytes).is_err_and(|other| place(&other) == place(why));
    let mut size = bytes.len();
    while size > 0 {
        let mut at = 0;
        while at < bytes.len() {
            let mut fewer = bytes.clone();
            fewer.drain(at..(at + size).min(bytes.len()));
            if fails(&fewer) {
                bytes = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    for at in 0..bytes.len() {
        for byte in 0..4 {
            let mut simpler = bytes.clone();
            if simpler[at] > byte {
                simpler[at] = byte;
                if fails(&simpler) {
                    bytes = simpler;
                    break;
                }
            }
        }
    }
    bytes
}
