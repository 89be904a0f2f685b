//! Random schedules of the admission state alone, against a model of its promises.
//!
//! The [`State`](admission::state::State) is compiled from the crate's own sources. A
//! [`Driver`](driver::Driver) does to it what the group and its handles do, on one thread, without
//! locks, children or polls: so a schedule costs microseconds. After each step it compares the
//! state with the [`Reference`](reference::Reference): the order of starts, the numbers, which
//! waiters have their turn and are woken, which permits go back, and that every child comes out
//! exactly once. It also checks the invariants in the head of `src/admission/state.rs`.
//!
//! What it does not see: the locks and hints of `src/admission/shared_core.rs`, the wait for a
//! permit (it takes one as soon as there is one), events, and groups that keep their state to
//! themselves.
#![allow(dead_code, unreachable_pub, unused_imports)]

extern crate alloc;

mod admission;
mod child;
mod driver;
#[path = "../../../src/key.rs"]
mod key;
#[path = "../../../src/observe/mod.rs"]
mod observe;
#[path = "../../../src/reason.rs"]
mod reason;
mod reference;
/// What a snapshot asks of the set; here there is none.
mod set {
    #[derive(Clone, Copy)]
    pub enum Progress {
        Unpolled,
        Woken,
        Waiting,
        Spawned,
        Completed,
    }
}
#[path = "../../../src/snapshot/mod.rs"]
mod snapshot;
#[path = "../../../src/stats.rs"]
mod stats;
mod util;

use std::env;
use std::ops::Range;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::driver::{Driver, End, KEYS, Setup, Step};
use crate::observe::Outcome;
use crate::reference::{ChildrensKey, Traits};

/// A number that is taken apart into choices. Steps that were generated one choice at a time would
/// take much longer to generate than to run. A lower number is a simpler step.
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: u64) -> usize {
        let choice = self.0 % count;
        self.0 /= count;
        usize::try_from(choice).expect("it is small")
    }

    /// Returns `true` as often in `of` cases.
    fn is(&mut self, often: usize, of: u64) -> bool {
        self.below(of) >= usize::try_from(of).expect("it is small") - often
    }

    /// Mostly plain.
    fn traits(&mut self) -> Traits {
        let weight = match self.below(13) {
            0..8 => 1,
            8..11 => 2 + self.below(2),
            11 => 4 + self.below(5),
            _ => 0,
        };
        let priority = if self.is(2, 8) { [0, 1, 2, -1, -2][self.below(5)] } else { 0 };
        let daemon = self.is(1, 10);
        let of = if self.is(4, 10) { Some(self.key()) } else { None };
        let (unique, joinable, early) = (self.is(1, 6), self.is(1, 5), self.is(1, 8));
        Traits { weight, priority, daemon, of, unique, joinable, early, feed: false }
    }

    fn key(&mut self) -> ChildrensKey {
        [0, 1, 2][self.below(u64::from(KEYS))]
    }

    fn pick(&mut self) -> usize {
        self.below(8)
    }

    /// The running child that contains a poll, mostly.
    fn inside(&mut self) -> Option<usize> {
        self.is(6, 10).then(|| self.pick())
    }

    fn limit(&mut self) -> Option<usize> {
        match self.below(9) {
            0 => None,
            _ => Some(self.below(5)),
        }
    }

    fn outcome(&mut self) -> Outcome {
        match self.below(9) {
            0..6 => Outcome::Ok,
            6 => Outcome::Failed,
            7 => Outcome::Panicked,
            _ => Outcome::Dropped,
        }
    }

    fn step(&mut self) -> Step {
        match self.below(110) {
            0..10 => Step::Take,
            10..20 => Step::Round,
            20..28 => Step::Queue { child: self.traits(), keeps: self.is(1, 4) },
            28..32 => Step::TryGo(self.traits()),
            32..34 => Step::Accept(self.traits()),
            34..46 => Step::Wait {
                child: self.is(6, 10).then(|| self.traits()),
                own: self.is(1, 5),
                inside: self.inside(),
                eager: self.is(1, 2),
            },
            46..58 => {
                Step::Poll { pick: self.pick(), inside: self.inside(), fresh: self.is(3, 10) }
            }
            58..64 => Step::Fill { pick: self.pick(), child: self.traits() },
            64..68 => Step::Abandon { pick: self.pick() },
            68..82 => Step::Finish { pick: self.pick(), outcome: self.outcome() },
            82..84 => Step::FinishUnfetched { pick: self.pick() },
            84..86 => Step::Block { count: self.below(3) },
            86..91 => Step::Limit(self.limit()),
            91..93 => Step::OtherTakes,
            93..96 => Step::OtherGives,
            96..98 => Step::DropQueue,
            98 => Step::TryClose,
            99 => Step::Cancel,
            101..103 => Step::KeyLimit { of: self.key(), limit: self.limit() },
            103..107 => Step::PassGates,
            107..110 => Step::AbortChild { pick: self.pick() },
            // More of it would end most schedules early.
            _ => match self.below(3) {
                0 => Step::TryClose,
                1 => Step::Cancel,
                _ => Step::Abort,
            },
        }
    }
}

fn steps(count: Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<u64>(), count)
        .prop_map(|numbers| numbers.into_iter().map(|number| Choices(number).step()).collect())
}

/// Returns the settings of a test. Unless `PROPTEST_CASES` says how many schedules to run, these
/// are the same each time, so that no change fails by chance.
fn settings(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = default.cases.max(least);
    let is_fixed = ["PROPTEST_CASES", "PROPTEST_RNG_SEED"].iter().all(|it| env::var(it).is_err());
    let rng_seed = if is_fixed { RngSeed::Fixed(1) } else { default.rng_seed };
    ProptestConfig { cases, failure_persistence: None, rng_seed, ..default }
}

/// Mostly without gates, so that a schedule needs not be lucky to admit children.
fn setup() -> impl Strategy<Value = Setup> {
    any::<u64>().prop_map(|number| {
        let mut choices = Choices(number);
        let limit = choices.limit();
        let permits = if choices.is(3, 10) { Some(1 + choices.below(4)) } else { None };
        let has_gates = choices.is(3, 10);
        let key_limit = if choices.is(6, 10) { Some(choices.below(4)) } else { None };
        let queue_limit = if choices.is(2, 10) { Some(choices.below(4)) } else { None };
        Setup { limit, permits, has_gates, key_limit, queue_limit }
    })
}

fn run(setup: &Setup, steps: &[Step], end: End) {
    let mut driver = Driver::new(setup);
    for step in steps {
        driver.step(step);
    }
    driver.end(end);
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::RunOut), 1 => Just(End::Abort)]
}

proptest! {
    #![proptest_config(settings(4_000))]

    #[test]
    fn the_state_keeps_its_promises_under_any_schedule(
        setup in setup(),
        steps in steps(1..60),
        end in end(),
    ) {
        run(&setup, &steps, end);
    }
}

proptest! {
    #![proptest_config(settings(100))]

    /// So long that one group has used its permits again as often as it may.
    #[test]
    fn permits_go_from_child_to_child_as_often_as_the_reference_says(
        permits in 1..4_usize,
        steps in steps(300..600),
    ) {
        run(&Setup { permits: Some(permits), ..Setup::default() }, &steps, End::RunOut);
    }
}
