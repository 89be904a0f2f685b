//! Gates: what a child waits for beside room, and the guards that it keeps until it ends.
//!
//! Admission knows the guards of a child as a pass (`admission/passes.rs`). The gates are asked
//! before each round, on behalf of a queue's head that lacks a pass alone; and by a `try_go`, for
//! the child on offer. Once they have been asked, their futures go on for whichever child is the
//! head then. A guard is dropped after its child and before the child's room is given away.

use alloc::vec::Vec;
use core::mem::take;
use core::pin::Pin;
use core::task::Poll;

use super::Base;
use crate::child::ask::Ask;
use crate::child::attach::AttachScope;
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::util::flagged::Flagged;
use crate::util::panic::catch;
use crate::util::slab::Slab;

/// How many children may pass the gates before the children are polled.
const MOST_PASSES: usize = 4096;

pub(super) struct Gates<S: AttachScope> {
    /// In the order in which they are asked.
    pub(super) gates: Vec<S::GateFn>,
    /// The future of the gate that is being asked.
    pending: Option<Flagged<S::GateFuture>>,
    /// The guards of the gates before it.
    gathered: Vec<S::Guard>,
    /// The guards of the children, by their passes.
    guards: Slab<Vec<S::Guard>>,
}

impl<S: AttachScope> Gates<S> {
    pub(super) fn new() -> Self {
        Self { gates: Vec::new(), pending: None, gathered: Vec::new(), guards: Slab::new() }
    }

    pub(super) fn begin_poll(&mut self) {
        self.pending.iter_mut().for_each(|pending| Pin::new(pending).begin_poll());
    }
}

impl<C: Kind> Base<C> {
    fn has_gates(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.gates.is_some())
    }

    /// Returns `true` if the gates are to be asked, or one of them was woken.
    pub(super) fn must_poll_gates(&mut self) -> bool {
        let gates = self.hooks.as_ref().and_then(|hooks| hooks.gates.as_ref());
        gates.is_some_and(|gates| gates.pending.as_ref().is_none_or(Flagged::is_woken))
            && self.admission.asked().is_some()
    }

    /// Returns `true` if guards are to be dropped.
    pub(super) fn must_drop_guards(&mut self) -> bool {
        self.has_gates() && self.admission.has_ended_passes()
    }

    /// Asks the gates on behalf of the head of the queue, for as long as it lacks only a pass.
    #[cold]
    #[inline(never)]
    pub(super) fn poll_gates(&mut self) {
        if !self.has_gates() {
            return;
        }
        self.drop_guards();
        if self.is_stopped() {
            return self.cancel_gates();
        }
        for _ in 0..MOST_PASSES {
            let Some(asked) = self.admission.asked() else { return };
            if !self.ask_gates(&asked.as_ask()) {
                return;
            }
        }
    }

    /// Asks the gates on behalf of a child that is offered and lacks only a pass.
    pub(super) fn poll_gates_for<A: Child<C>>(&mut self, child: &mut A) {
        if let Some(hooks) = &*self.hooks {
            (hooks.calls.poll_gates_for)(self, child.options(Seal::new()));
        }
    }

    pub(super) fn poll_gates_for_one(&mut self, options: Option<&mut Options>) {
        if !self.has_gates() {
            return;
        }
        let Some(asked) = self.admission.asked_for(options) else { return };
        // It is no part of a poll of the group: a future that has woken itself is polled again.
        if let Some(gates) = self.hooks.as_mut().and_then(|hooks| hooks.gates.as_mut()) {
            gates.begin_poll();
        }
        self.ask_gates(&asked.as_ask());
    }

    /// Polls the gates until one of them is pending, or all are passed; then there is a pass, and
    /// it returns `true`.
    fn ask_gates(&mut self, ask: &Ask<'_>) -> bool {
        let Some(gates) = self.hooks.as_mut().and_then(|hooks| hooks.gates.as_mut()) else {
            return false;
        };
        let Gates { gates, pending, gathered, guards } = &mut **gates;
        let parent = &self.admission.parent;
        let asked = catch(|| {
            for gate in gates.iter_mut().skip(gathered.len()) {
                if pending.is_none() {
                    *pending = Some(Flagged::new(gate(ask), parent));
                }
                match pending.as_mut().map(|pending| Pin::new(pending).poll()) {
                    Some(Poll::Ready(guard)) => gathered.push(guard),
                    _ => return false,
                }
                *pending = None;
            }
            true
        });
        match asked {
            Ok(true) => {
                let pass = guards.insert(take(gathered));
                self.admission.add_pass(ask.weight(), pass);
                true
            }
            Ok(false) => false,
            Err(payload) => {
                self.panicked(payload);
                self.cancel_gates();
                false
            }
        }
    }

    /// Drops the future that waits, and the guards of the gates before it: the group has stopped.
    fn cancel_gates(&mut self) {
        let gates = self.hooks.as_mut().and_then(|hooks| hooks.gates.as_mut());
        let Some((pending, gathered)) = gates.map(|it| (it.pending.take(), take(&mut it.gathered)))
        else {
            return;
        };
        self.drop_part(pending);
        gathered.into_iter().for_each(|guard| self.drop_part(guard));
    }

    /// Drops the guards of children that have ended.
    pub(super) fn drop_guards(&mut self) {
        if !self.has_gates() {
            return;
        }
        let mut passes = Vec::new();
        self.admission.take_ended_passes(&mut passes);
        for pass in passes {
            let gates = self.hooks.as_mut().and_then(|hooks| hooks.gates.as_mut());
            let guards = gates.and_then(|gates| gates.guards.remove(pass));
            guards.into_iter().flatten().for_each(|guard| self.drop_part(guard));
        }
    }

    /// Drops the gates with all guards, when the children are gone.
    pub(super) fn drop_gates(&mut self) {
        let Some(gates) = self.hooks.as_mut().and_then(|hooks| hooks.gates.take()) else {
            return;
        };
        let Gates { gates, pending, gathered, guards } = *gates;
        self.panic.guard(|| drop(pending));
        for guard in gathered.into_iter().chain(guards.into_values().flatten()) {
            self.panic.guard(|| drop(guard));
        }
        for gate in gates {
            self.panic.guard(|| drop(gate));
        }
    }
}
