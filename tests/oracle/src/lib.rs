//! Worlds of a few groups, in which every standstill must be justified.
//!
//! [`run`] takes bytes, and each of them decides something. First they draw what occurs in the
//! world: weights, keys, gates, holds, panics and so on. Most worlds have few of these, so that a
//! bug which needs two of them is not hidden by the others. Then owners of groups, their children
//! and other tasks act on groups; one thread polls the tasks that were woken.
//!
//! The world records what it does itself, and knows of the crate only what the documentation
//! promises. When no task is woken, it computes from its records which child would be the next to
//! run, and whether a limit, a key, a gate or a permit keeps it from that. If none does, a wake-up
//! was lost or room was forgotten, even if a later event would help the group on. The module
//! `check` says what else is checked.

mod actor;
mod check;
mod child;
mod executor;
mod feed;
mod gate;
mod kinds;
mod life;
mod long;
mod record;
mod tape;
mod waiting;
mod world;

pub use long::run_long;

/// Runs the world of these bytes, and prints what happens if it `traces`.
///
/// # Errors
///
/// What is wrong, if anything is.
pub fn run(bytes: &[u8], traces: bool) -> Result<(), String> {
    life::live(bytes, traces).map_or(Ok(()), Err)
}

/// Returns random bytes.
pub fn random(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    };
    let count = 30 + next() % 200;
    (0..count).map(|_| next() as u8).collect()
}

#[cfg(test)]
mod tests {
    /// `WORLDS=100000 cargo test --profile checked -p oracle` runs more of them.
    #[test]
    fn random_worlds_stand_still_for_a_reason_only() {
        let worlds = std::env::var("WORLDS").ok().and_then(|worlds| worlds.parse().ok());
        for seed in 0..worlds.unwrap_or(5_000) {
            if let Err(why) = super::run(&super::random(seed), false) {
                panic!("seed {seed}: {why}");
            }
        }
    }

    /// `LONG_WORLDS=10000 LONG_FROM=1` runs more of them.
    #[test]
    fn long_loops_yield_and_leave_nothing_behind() {
        let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
        let (from, worlds) = (number("LONG_FROM").unwrap_or(0), number("LONG_WORLDS"));
        for seed in from..from + worlds.unwrap_or(50) {
            if let Err(why) = super::run_long(seed) {
                panic!("seed {seed}: {why}");
            }
        }
    }
}
