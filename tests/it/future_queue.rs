//! What a queue of weighted futures in groups promises, by a thin adapter: a stream of futures,
//! each with a weight and perhaps a group that has a limit of its own, run under one limit for all;
//! and each of those that run has a *slot*, the lowest number that is free in all and in its group.
//!
//! A weight beyond a limit counts as that limit, so that such a future runs alone. Unlike a queue
//! that reads its stream as long as there is room in all, the adapter has at most as many futures
//! at a time as the limit says, those included that wait for their group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::common::{Gate, Job, MockTask, Random, job};
use errgroup::{Boxed, Group, Key, Task, task};
use futures::{FutureExt, future, stream};

type Kind = Boxed<'static, usize, &'static str>;

#[derive(Clone, Copy, Debug)]
struct Item {
    number: usize,
    weight: usize,
    group: Option<usize>,
}

/// The slots of those that run.
#[derive(Clone, Default)]
struct Slots(Arc<Mutex<BTreeSet<usize>>>);

impl Slots {
    fn take(&self) -> usize {
        let mut taken = self.0.lock().unwrap();
        let slot = (0..).find(|slot| !taken.contains(slot)).unwrap();
        taken.insert(slot);
        slot
    }

    fn free(&self, slot: usize) {
        assert!(self.0.lock().unwrap().remove(&slot));
    }
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    item: Item,
    slot: usize,
    group_slot: Option<usize>,
}

/// The adapter: what runs, and the slots.
#[derive(Clone, Default)]
struct Queue {
    gate: Gate,
    slots: Slots,
    group_slots: BTreeMap<usize, Slots>,
    running: Arc<Mutex<Vec<Begun>>>,
}

impl Queue {
    fn new(groups: usize) -> Self {
        let group_slots = (0..groups).map(|group| (group, Slots::default())).collect();
        Self { group_slots, ..Self::default() }
    }

    /// Makes a child of an item, which takes its slots when it begins.
    fn child(&self, item: Item) -> Task<Job> {
        let (queue, door) = (self.clone(), self.gate.wait(item.number));
        let child = task(job(async move {
            let of_group = item.group.map(|group| queue.group_slots[&group].clone());
            let (slot, group_slot) = (queue.slots.take(), of_group.as_ref().map(Slots::take));
            queue.running.lock().unwrap().push(Begun { item, slot, group_slot });
            door.await;
            queue.running.lock().unwrap().retain(|it| it.item.number != item.number);
            queue.slots.free(slot);
            of_group.iter().zip(group_slot).for_each(|(slots, slot)| slots.free(slot));
            Ok(item.number)
        }))
        .weight(item.weight);
        match item.group {
            Some(group) => child.key(group),
            None => child,
        }
    }

    fn running(&self) -> Vec<Begun> {
        self.running.lock().unwrap().clone()
    }
}

/// The weight that items take of a limit.
fn weight<'a>(items: impl Iterator<Item = &'a Begun>, limit: usize) -> usize {
    items.map(|it| it.item.weight.min(limit)).sum()
}

/// Runs a stream of items, and checks the promises after each that ends.
fn run(seed: u64) {
    let mut random = Random(seed);
    let (limit, groups) = (1 + random.below(8), random.below(4));
    let limits: Vec<usize> = (0..groups).map(|_| 1 + random.below(5)).collect();
    let items: Vec<Item> = (0..60)
        .map(|number| {
            let group =
                if random.below(3) == 0 { None } else { random.below(groups + 1).checked_sub(1) };
            Item { number, weight: [0, 1, 1, 1, 2, 3, 9][random.below(7)], group }
        })
        .collect();

    let queue = Queue::new(groups);
    let group = Group::<Kind>::new().with_limit(limit).collect();
    for (of, &limit) in limits.iter().enumerate() {
        group.set_key_limit(&Key::from(of), Some(limit));
    }
    let handle = group.handle();
    let children: Vec<_> = items.iter().map(|&item| queue.child(item)).collect();
    let fed = handle.feed(stream::iter(children));
    let mut all = future::join(fed, group).boxed_local();

    let task = MockTask::new();
    let (mut begun, mut ended) = (Vec::<Begun>::new(), 0);
    loop {
        let result = task.run(&mut all);
        let running = queue.running();
        let new: Vec<_> = running
            .iter()
            .filter(|it| begun.iter().all(|b| b.item.number != it.item.number))
            .collect();

        // The limits.
        assert!(weight(running.iter(), limit) <= limit, "{running:?} of {limit}");
        for (of, &limit) in limits.iter().enumerate() {
            let of_group = running.iter().filter(|it| it.item.group == Some(of));
            assert!(weight(of_group, limit) <= limit, "{running:?}, {limit} of group {of}");
        }
        // The slots are as low as they can be.
        for it in &new {
            assert!(it.slot < running.len() + 1 && it.group_slot < Some(running.len() + 1));
        }
        let slots: BTreeSet<_> = running.iter().map(|it| it.slot).collect();
        assert_eq!(slots.len(), running.len(), "no two have the same slot");
        for (of, &limit) in limits.iter().enumerate().take(groups) {
            let of_group = running.iter().filter(|it| it.item.group == Some(of));
            let slots: Vec<_> = of_group.map(|it| it.group_slot.unwrap()).collect();
            assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len());
            // None is beyond what the group had at most at a time, weightless ones apart.
            let weightless = items.iter().filter(|it| it.group == Some(of) && it.weight == 0);
            assert!(slots.iter().all(|&slot| slot < limit + weightless.clone().count()));
        }
        // The order: those that begin together do so as they came, and get their slots so.
        assert!(new.windows(2).all(|two| two[0].item.number < two[1].item.number), "{new:?}");
        begun.extend(new.into_iter().copied());
        for of in (0..groups).map(Some).chain([None]) {
            let numbers: Vec<_> =
                begun.iter().filter(|it| it.item.group == of).map(|it| it.item.number).collect();
            assert!(numbers.is_sorted(), "group {of:?}: {numbers:?}");
        }

        if let std::task::Poll::Ready((fed, results)) = result {
            let mut results = results.unwrap();
            results.sort_unstable();
            assert_eq!((fed, ended), (60, 60));
            assert!(results.into_iter().eq(0..60), "each has its result");
            return;
        }
        assert!(!running.is_empty(), "something could run");
        queue.gate.open(running[random.below(running.len())].item.number);
        ended += 1;
    }
}

#[test]
fn weights_groups_and_slots_are_as_promised_under_any_order_of_ends() {
    (1..=100).for_each(run);
}

#[test]
fn a_full_group_delays_no_future_of_another_one() {
    let queue = Queue::new(2);
    let mut group = Group::<Kind>::new().with_limit(8).with_key_limit(1);
    let groups = [0, 0, 0, 1, 1, 0];
    for (number, of) in groups.into_iter().enumerate() {
        group.queue(queue.child(Item { number, weight: 1, group: Some(of) }));
    }
    group.queue(queue.child(Item { number: 6, weight: 1, group: None }));
    let task = MockTask::new();
    let mut run = |ended: &[usize]| -> Vec<(usize, usize)> {
        ended.iter().for_each(|&number| queue.gate.open(number));
        let _ = task.run(&mut group);
        queue.running().iter().map(|it| (it.item.number, it.slot)).collect()
    };
    assert_eq!(run(&[]), [(0, 0), (3, 1), (6, 2)]);
    assert_eq!(run(&[3]), [(0, 0), (6, 2), (4, 1)], "it takes the slot that is free");
    assert_eq!(run(&[0, 4]), [(6, 2), (1, 0)]);
    assert_eq!(run(&[6, 1]), [(2, 0)]);
    assert_eq!(run(&[2]), [(5, 0)]);
    assert_eq!(run(&[5]), []);
}

#[test]
fn a_future_heavier_than_a_limit_runs_alone_and_keeps_its_turn() {
    let queue = Queue::new(1);
    let mut group = Group::<Kind>::new().with_limit(3);
    for (number, weight) in [1, 7, 1, 0].into_iter().enumerate() {
        group.queue(queue.child(Item { number, weight, group: None }));
    }
    let task = MockTask::new();
    let mut run = |ended: &[usize]| -> Vec<usize> {
        ended.iter().for_each(|&number| queue.gate.open(number));
        let _ = task.run(&mut group);
        queue.running().iter().map(|it| it.item.number).collect()
    };
    assert_eq!(run(&[]), [0]);
    assert_eq!(run(&[0]), [1]);
    assert_eq!(run(&[1]), [2, 3]);
}
