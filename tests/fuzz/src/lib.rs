//! Worlds of groups, made of bytes.
//!
//! [`run`] takes bytes, and each of them decides something: which groups there are, what their
//! children do when they are polled or dropped, what wakers, policies, observers, gates and an
//! executor do. A world has several groups of different kinds, tasks that wait at their handles,
//! and a semaphore that the groups share. **A task is polled only when it was woken**, so a
//! wake-up that is lost is a task that never ends, and the world notices.
//!
//! What is checked, and when, is in the module `check`.

mod acts;
mod check;
mod env;
mod kid;
mod kinds;
mod own;
mod world;

pub use world::run;

/// Returns random bytes.
pub fn random(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..10).for_each(|_| {
        next();
    });
    let count = 40 + next() % 800;
    (0..count).map(|_| (next() >> 24) as u8).collect()
}

#[cfg(test)]
mod tests {
    /// Returns what is wrong in a world of these bytes, if anything is.
    fn failure(bytes: &[u8]) -> Option<String> {
        let panic = std::panic::catch_unwind(|| super::run(bytes, false)).err()?;
        Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
    }

    /// `WORLDS=100000 cargo test --profile checked -p fuzz` runs more of them.
    #[test]
    fn random_worlds_keep_the_promises() {
        let worlds = std::env::var("WORLDS").ok().and_then(|worlds| worlds.parse().ok());
        std::panic::set_hook(Box::new(|_| {}));
        for seed in 0..worlds.unwrap_or(200) {
            if let Some(why) = failure(&super::random(seed)) {
                drop(std::panic::take_hook());
                panic!("seed {seed}: {why}");
            }
        }
    }

    /// They reach nearly all that libFuzzer has reached: `bash .ci/libfuzzer` looks for more.
    #[test]
    fn worlds_of_the_corpus_keep_the_promises() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
        std::panic::set_hook(Box::new(|_| {}));
        for file in std::fs::read_dir(corpus).expect("the corpus") {
            let file = file.expect("a file of the corpus").path();
            let bytes = std::fs::read(&file).expect("a file of bytes");
            if let Some(why) = failure(&bytes) {
                drop(std::panic::take_hook());
                panic!("{}: {why}", file.display());
            }
        }
    }
}
