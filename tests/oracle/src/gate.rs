//! The future of a gate, and the guard that it gives.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use errgroup::Ask;

use crate::actor::Actor;
use crate::child::panic_now;
use crate::executor::{Latch, Wait, Yield};
use crate::record::{GateRecord, GroupRecord};

pub(crate) struct GateFuture {
    gate: Rc<GateRecord>,
    group: Rc<GroupRecord>,
    latch: Rc<Latch>,
    yields: Vec<Yield>,
    wait: Wait,
    panics: bool,
}

pub(crate) struct Guard {
    gate: Rc<GateRecord>,
}

impl GateFuture {
    /// Returns what the gate answers with: it yields, waits for a latch, does both or neither.
    pub(crate) fn new(actor: &Actor, gate: &Rc<GateRecord>, ask: &Ask<'_>) -> Self {
        let (world, group) = (&actor.world, &actor.group);
        actor.log(format_args!("a gate is asked for weight {}", ask.weight()));
        if gate.pending.borrow().is_some() {
            actor.fault("a gate is asked while its future is pending");
        }
        if group.has_ended.get() {
            actor.fault("a gate is asked after the end");
        }
        let choice = world.below(8);
        let latch = if matches!(choice, 4..=6) {
            world.latch()
        } else {
            let open = Rc::<Latch>::default();
            open.open();
            open
        };
        *gate.pending.borrow_mut() = Some(latch.clone());
        Self {
            gate: gate.clone(),
            group: group.clone(),
            yields: (0..choice.saturating_sub(5)).map(|_| Yield::default()).collect(),
            wait: latch.wait(),
            latch,
            panics: world.features.panics && world.chance(12),
        }
    }
}

impl Future for GateFuture {
    type Output = Guard;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Guard> {
        while let Some(next) = self.yields.last_mut() {
            if Pin::new(next).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.yields.pop();
        }
        if Pin::new(&mut self.wait).poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.panics {
            self.group.record_panic();
            panic_now();
        }
        self.gate.guards.set(self.gate.guards.get() + 1);
        *self.gate.pending.borrow_mut() = None;
        Poll::Ready(Guard { gate: self.gate.clone() })
    }
}

impl Drop for GateFuture {
    fn drop(&mut self) {
        let mut pending = self.gate.pending.borrow_mut();
        if pending.as_ref().is_some_and(|latch| Rc::ptr_eq(latch, &self.latch)) {
            *pending = None;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.gate.guards.set(self.gate.guards.get() - 1);
    }
}
