//! How a world goes on: which task is polled next, and what happens if none is woken.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::actor::{act_on_groups, run_group, take_permits};
use crate::child::key;
use crate::record::{GroupRecord, KEYS, Waiter};
use crate::world::World;

/// More polls than a world needs by far.
const MAX_POLLS: usize = 3_000;

/// Runs the world of these bytes. Returns what is wrong, if anything is.
pub(crate) fn live(bytes: &[u8], traces: bool) -> Option<String> {
    let world = Rc::new(World::new(bytes, traces));
    let lived = catch_unwind(AssertUnwindSafe(|| {
        begin(&world);
        go_on(&world);
        if !world.has_fault() {
            check_stuck(&world);
        }
        end(&world);
    }));
    if let Err(payload) = lived {
        world.fault(format_args!("panic: {}", message(&*payload)));
    }
    world.take_fault()
}

/// Returns the message of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(|text| &**text);
    text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

fn begin(world: &Rc<World>) {
    for _ in 0..1 + world.below(2) {
        world.executor.spawn("owner", run_group(world.clone(), None, 0));
    }
    for _ in 0..world.below(4) {
        world.executor.spawn("helper", Box::pin(act_on_groups(world.clone())));
    }
    if world.features.semaphore {
        for _ in 0..world.below(3) {
            world.executor.spawn("taker of permits", Box::pin(take_permits(world.clone())));
        }
    }
}

/// Polls tasks until nothing is left to do, or something is wrong.
fn go_on(world: &World) {
    let (mut polls, mut is_unlimited) = (0, false);
    while !world.has_fault() {
        let woken = world.executor.woken();
        if woken.is_empty() {
            world.log("standstill");
            world.check_standstill();
            if world.has_fault() || !intervene(world, &mut is_unlimited) {
                return;
            }
            continue;
        }
        polls += 1;
        if polls > MAX_POLLS {
            world.fault("does not come to rest");
        }
        match world.below(10) {
            8 if !world.tape.borrow().is_used_up() => drop(intervene(world, &mut is_unlimited)),
            9 => {
                let alive = world.executor.alive();
                let task = &alive[world.below(alive.len())];
                world.log(format_args!("poll {}, which may not be woken", task.name));
                world.executor.poll(task, true);
            }
            choice => {
                let task = &woken[world.below(woken.len())];
                world.log(format_args!("poll {}", task.name));
                world.executor.poll(task, choice == 7);
            }
        }
    }
}

/// Does something from outside. Returns `false` if nothing is left to do.
fn intervene(world: &World, is_unlimited: &mut bool) -> bool {
    if world.tape.borrow().is_used_up() || *is_unlimited {
        return finish(world, is_unlimited);
    }
    if world.below(8) == 6 && world.features.drops {
        let mut alive = world.executor.alive();
        // A group whose executor drops a child panics, as it says.
        alive.retain(|task| task.name != "child");
        if !alive.is_empty() && world.chance(2) {
            let task = &alive[world.below(alive.len())];
            world.log(format_args!("drop {}", task.name));
            world.executor.drop_task(task);
        }
    } else {
        world.open_latch();
    }
    true
}

/// Lets all go on, latch by latch, and at last without limits. Returns `false` after that.
fn finish(world: &World, is_unlimited: &mut bool) -> bool {
    let mut latches = world.latches.borrow_mut();
    latches.retain(|latch| !latch.is_open());
    let oldest = latches.first().cloned();
    drop(latches);
    if let Some(latch) = oldest {
        world.log("open the oldest latch");
        latch.open();
        return true;
    }
    if std::mem::replace(is_unlimited, true) {
        return false;
    }
    world.log("no limits from now on");
    world.opens_latches.set(true);
    for group in &*world.groups.borrow() {
        let Some(handle) = group.handle() else { continue };
        let now = world.tick();
        group.limit.set(now, None);
        handle.set_limit(None);
        for number in 0..KEYS {
            group.key_limits[number].set(now, None);
            handle.set_key_limit(&key(number), None);
        }
    }
    if world.features.semaphore {
        world.semaphore.add_permits(100);
        world.permits.set(world.permits.get() + 100);
    }
    true
}

/// Checks that all tasks have ended, as latches and limits are no more.
fn check_stuck(world: &World) {
    // Documented: the stop that only daemons are left for does not come while a call or a scope
    // drives the group. Then a daemon that is alone and waits for room waits for ever.
    //
    // A child also waits for ever behind one with a unique key, if another of the key waits for it:
    // within a group of its own, or by another task.
    let may_wait = |group: &Rc<GroupRecord>| {
        let is_daemon = |waiter: &Rc<Waiter>| {
            waiter.inside.borrow().as_ref().is_some_and(|child| child.options.daemon)
        };
        group.waiters.borrow().iter().any(is_daemon) || group.awaits_unique_key()
    };
    if world.groups.borrow().iter().any(may_wait) {
        return;
    }
    for task in world.executor.alive() {
        world.fault(format_args!("a task is stuck: {}", task.name));
    }
}

/// Drops all, and checks that nothing is left.
fn end(world: &World) {
    world.executor.clear();
    world.join_handles.borrow_mut().clear();
    world.tokens.borrow_mut().clear();
    world.check_end();
}
