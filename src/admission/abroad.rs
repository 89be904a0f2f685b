//! Children that run elsewhere, while they do.
//!
//! They need no polls before they are done; so they come into the group's set only then, and
//! leave it at their first poll. Nobody needs a waker for them: their reports ring the bell.
//!
//! # Invariants
//!
//! - Each child that has started is in the outbox, here, or in the set; and in the outbox or here
//!   before it reports.
//! - The reports are taken before the outbox is: so whoever has reported is found.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Shared;
use super::row::{Row, shrink};
use crate::Kind;
use crate::bell::Bell;
use crate::set::Set;
use crate::spawned::Home;

pub(super) struct Abroad<C> {
    /// By their indices.
    children: Row<C>,
    home: Arc<Home>,
    /// Holds the reports while they are gone through; empty between.
    done: Vec<usize>,
}

impl<C: Kind> Abroad<C> {
    pub(super) fn new(home: Arc<Home>) -> Box<Self> {
        Box::new(Self { children: Row::default(), home, done: Vec::new() })
    }

    pub(super) fn has_reports(&self) -> bool {
        self.home.has_reports()
    }

    /// Takes those who were admitted; and moves into the set who has reported.
    pub(super) fn take_in(
        &mut self,
        shared: &Shared<C>,
        batch: &mut VecDeque<C>,
        set: &mut Set<C>,
        bell: &Arc<Bell>,
    ) {
        self.home.take(&mut self.done);
        if shared.has_mail() {
            let first = shared.take_outbox(batch);
            for (index, child) in (first..).zip(batch.drain(..)) {
                self.children.push(index as u64, child);
            }
            shrink(batch);
        }
        for index in self.done.drain(..) {
            if let Some(child) = self.children.remove(index as u64) {
                set.insert(child, index, bell);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Gives all who are here, with their indices.
    pub(super) fn leave(&mut self) -> impl Iterator<Item = (usize, C)> + use<C> {
        let children = core::mem::take(&mut self.children);
        children.into_places().map(|(index, child)| (index as usize, child))
    }
}
