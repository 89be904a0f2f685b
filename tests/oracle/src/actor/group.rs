//! How a group is built.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use errgroup::{
    Ask, CancelToken, Child, Children, Event, Group, Joinable, Kind, LocalBoxed, Outcome,
    SpawnedLocal, Task,
};
use futures::future::LocalBoxFuture;

use super::Actor;
use crate::child::ChildFuture;
use crate::gate::GateFuture;
use crate::kinds::{AnyGroup, AnyResults};
use crate::record::{ChildRecord, GroupRecord, LimitRecord, StopsAt, Told};
use crate::world::{Kinds, World};

/// What closures and futures of a group have to live for; it is the same for both kinds.
type LocalScope = <LocalBoxed<'static, (), u32> as Kind>::Scope;

/// How results are collected, and when the group stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    FirstError,
    /// It also drops the children that run when it stops.
    FirstErrorDrop,
    AllErrors,
    FirstDone,
    Results,
}

/// Makes a group, and awaits what its owner does with it.
pub(crate) fn run_group(
    world: Rc<World>,
    owner: Option<Rc<ChildRecord>>,
    depth: usize,
) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let policy = choose_policy(&world);
        let group = Rc::new(new_record(&world, owner, policy));
        let actor = Actor { world, group, depth };
        if actor.group.is_spawned {
            let world = actor.world.clone();
            let spawn = move |child| world.executor.spawn("child", child);
            let group: Group<SpawnedLocal<(), u32>> = Group::on_local(spawn);
            run(actor, group, policy).await;
        } else {
            let group: Group<LocalBoxed<'static, (), u32>> = Group::local();
            run(actor, group, policy).await;
        }
    })
}

fn choose_policy(world: &World) -> Policy {
    let all = if world.features.results { Policy::Results } else { Policy::AllErrors };
    let drop = if world.features.ends { Policy::FirstErrorDrop } else { Policy::FirstError };
    world.choose([Policy::FirstError, all, drop, Policy::FirstDone])
}

fn new_record(world: &World, owner: Option<Rc<ChildRecord>>, policy: Policy) -> GroupRecord {
    let features = &world.features;
    let key_limit = if features.keys { world.choose([None, Some(1), Some(2)]) } else { None };
    let drops_on_stop = policy == Policy::FirstErrorDrop;
    GroupRecord {
        id: world.groups.borrow().len(),
        is_spawned: match features.kinds {
            Kinds::Polled => false,
            Kinds::Spawned => true,
            Kinds::Mixed => world.chance(2),
        },
        owner,
        limit: LimitRecord::new(world.choose([Some(1), Some(2), Some(3), None])),
        key_limits: std::array::from_fn(|_| LimitRecord::new(key_limit)),
        queue_limit: (features.queue_limit && world.chance(2)).then(|| world.below(3)),
        stops_at: match policy {
            Policy::FirstError | Policy::FirstErrorDrop => StopsAt::Error,
            Policy::AllErrors | Policy::Results => StopsAt::Nothing,
            Policy::FirstDone => StopsAt::Result,
        },
        drops_on_stop,
        has_semaphore: features.semaphore && !world.chance(4),
        gates: (0..features.gates).map(|_| Rc::default()).collect(),
        deadline: (features.timers && world.chance(2)).then(|| world.latch()),
        grace: (features.timers && !drops_on_stop && world.chance(2)).then(|| world.latch()),
        parent: (features.ends && world.chance(3)).then(|| new_parent(world)),
        handle: RefCell::default(),
        driver: Cell::default(),
        children: RefCell::default(),
        waiters: RefCell::default(),
        slots: Cell::default(),
        nested_slots: Cell::default(),
        may_spare_guard: Cell::default(),
        holds: Cell::default(),
        is_closed: Cell::default(),
        is_stopped: Cell::default(),
        has_ended: Cell::default(),
        errors: RefCell::default(),
        first_result: Cell::default(),
        panicked: Cell::default(),
        is_stream: Cell::new(policy == Policy::Results),
        unread: RefCell::default(),
    }
}

/// Returns a child of the last group's token, or a token of its own.
fn new_parent(world: &World) -> CancelToken {
    let last = world.groups.borrow().last().and_then(|group| group.handle());
    let token = last.map_or_else(CancelToken::new, |handle| handle.token().child());
    world.tokens.borrow_mut().push(token.clone());
    token
}

async fn run<C>(actor: Actor, group: Group<C>, policy: Policy)
where
    C: Children<Ok = (), Err = u32> + Kind<Scope = LocalScope> + 'static,
    ChildFuture: Child<C>,
    Task<ChildFuture>: Child<C>,
    Task<Joinable<ChildFuture>>: Child<C>,
{
    let group = build(&actor, group, policy);
    actor.world.groups.borrow_mut().push(actor.group.clone());
    let group: Box<dyn AnyGroup> = match policy {
        Policy::FirstError | Policy::FirstErrorDrop => Box::new(group),
        Policy::AllErrors => Box::new(group.all_errors()),
        Policy::FirstDone => Box::new(group.first_done()),
        Policy::Results => {
            let results: Box<dyn AnyResults> = Box::new(group.results());
            return actor.read_results(results).await;
        }
    };
    actor.own(group).await;
}

/// Gives a group the options that its record says.
fn build<C: Children + Kind<Scope = LocalScope>>(
    actor: &Actor,
    mut group: Group<C>,
    policy: Policy,
) -> Group<C> {
    let (world, record) = (&actor.world, &actor.group);
    let GroupRecord { queue_limit, has_semaphore, gates, is_spawned, .. } = &**record;
    let (limit, key_limit) = (record.limit.current(), record.key_limits[0].current());
    actor.log(format_args!(
        "{policy:?}, limit {limit:?}, of keys {key_limit:?}, of the queue {queue_limit:?}, \
         {} gates, semaphore {has_semaphore}, spawned {is_spawned}",
        gates.len()
    ));
    if let Some(limit) = limit {
        group = group.with_limit(limit);
    }
    if let Some(limit) = key_limit {
        group = group.with_key_limit(limit);
    }
    if let Some(limit) = *queue_limit {
        group = group.with_queue_limit(limit);
    }
    if *has_semaphore {
        group = group.with_semaphore(world.semaphore.clone());
    }
    for gate in gates {
        let (actor, gate) = (actor.clone(), gate.clone());
        group = group.with_gate(move |ask: &Ask<'_>| GateFuture::new(&actor, &gate, ask));
    }
    if let Some(latch) = &record.deadline {
        group = group.with_deadline(latch.wait());
    }
    if let Some(latch) = record.grace.clone() {
        group = group.with_grace(move || latch.wait());
    }
    if record.drops_on_stop {
        group = group.drop_on_stop();
    }
    if world.features.observer {
        let actor = actor.clone();
        group = group.with_observer(move |event: &Event| actor.observe(event));
    }
    if let Some(token) = &record.parent {
        group = group.with_parent(token);
    }
    // A schedule would leave open which of two spawned children a result is of.
    if world.features.schedule && !(*is_spawned && policy == Policy::Results) {
        group = group.with_schedule(world.below(256) as u64);
    }
    group
}

impl Actor {
    /// Checks that each child is queued, starts and finishes once, in this order, and as it did.
    fn observe(&self, event: &Event) {
        let id = event.name().and_then(|name| name.parse::<usize>().ok());
        let Some(child) = id.map(|id| self.world.children.borrow()[id].clone()) else {
            return;
        };
        let before = child.told.get();
        let (now, is_in_order) = match event {
            Event::Queued { .. } => (Told::Queued, before == Told::Nothing),
            Event::Started { .. } => (Told::Started, before <= Told::Queued),
            // One that was dropped in the queue has no index.
            Event::Finished { index: None, .. } => (Told::Finished, before <= Told::Queued),
            Event::Finished { .. } => (Told::Finished, before == Told::Started),
            _ => return,
        };
        if !is_in_order {
            self.fault(format_args!("{event} comes after {before:?}"));
        }
        child.told.set(now);
        if let Event::Finished { outcome, .. } = event {
            // A child of `on_local` that has ended counts as dropped if the group is dropped
            // before it has seen that: what the child has returned is dropped unseen.
            let is_unseen = self.group.is_spawned && *outcome == Outcome::Dropped;
            if !is_unseen && child.outcome().is_some_and(|ended| ended != *outcome) {
                self.fault(format_args!("child {} finishes with {outcome:?}", child.id));
            }
        }
    }
}
