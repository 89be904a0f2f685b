//! Random schedules, against a model of what a group promises.
//!
//! `Model` says in plain code what has to come of each step. `World` takes the same steps
//! with a real group, its children, and those who wait at its handles, all polled by hand.
//! After each step the two are compared: the answers, the numbers, who was woken, who is gone.
//!
//! What the model does not say is in which order the group polls children that are awake at
//! the same time. There it follows: each child writes down what it does, and the model
//! checks that it was allowed to.
#![allow(unreachable_pub)]

#[path = "../common/mod.rs"]
mod common;
mod promises;
mod puppet;
mod world;

use proptest::prelude::*;

use crate::promises::Outcome;
use crate::puppet::Order;
use crate::world::{Step, World};

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        10 => Just(Order::Finish(Outcome::Ok)),
        1 => Just(Order::Finish(Outcome::Failed)),
        1 => Just(Order::Finish(Outcome::Panicked)),
        3 => Just(Order::Yield),
        6 => Just(Order::Go),
        2 => Just(Order::Nothing),
    ]
}

/// What a child does at its first poll: mostly nothing.
fn first() -> impl Strategy<Value = Option<Order>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(Order::Finish(Outcome::Ok))),
        2 => Just(Some(Order::Go)),
        1 => order().prop_map(Some),
    ]
}

fn limit() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(None), 8 => (0..5_usize).prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let own = (first(), prop::collection::vec(simple(), 0..12));
    prop_oneof![
        1 => own.prop_map(|(order, meanwhile)| Step::OwnGo { order, meanwhile }),
        20 => simple(),
    ]
}

fn simple() -> impl Strategy<Value = Step> {
    let pick = 0..8_usize;
    prop_oneof![
        4 => (any::<bool>(), first()).prop_map(|(own, order)| Step::TryGo { own, order }),
        6 => (any::<bool>(), first()).prop_map(|(own, order)| Step::Queue { own, order }),
        8 => first().prop_map(|order| Step::Go { order }),
        3 => (prop::collection::vec(first(), 0..4), any::<bool>())
            .prop_map(|(orders, ended)| Step::Feed { orders, ended }),
        3 => (pick.clone(), prop::option::weighted(0.8, first()))
            .prop_map(|(pick, order)| Step::Put { pick, order }),
        8 => pick.clone().prop_map(|pick| Step::PollWaiter { pick }),
        3 => pick.clone().prop_map(|pick| Step::DropWaiter { pick }),
        14 => (pick.clone(), order()).prop_map(|(pick, order)| Step::Tell { pick, order }),
        2 => pick.prop_map(|pick| Step::WakeGone { pick }),
        4 => limit().prop_map(|limit| Step::Limit { limit }),
        1 => Just(Step::Cancel),
        10 => Just(Step::Poll),
        6 => Just(Step::Run),
        1 => Just(Step::DropGroup),
    ]
}

fn settings() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(400), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_group_keeps_its_promises_under_any_schedule(
        limit in limit(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(limit);
        for step in &steps {
            world.step(step);
        }
        world.end();
    }
}
