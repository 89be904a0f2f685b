//! Children that run elsewhere, while they do.
//!
//! They need no polls before they are done; so they come into the group's set only then, and
//! leave it at their first poll. Nobody needs a waker for them: their reports ring the bell.
//!
//! # Invariants
//!
//! - Each admitted child is in the inbox, here, or in the set, from the moment it may be
//!   started; and in the inbox or here before it reports.
//! - The reports are taken before the inbox is: so whoever has reported is found.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Shared;
use super::line::{Inbox, child};
use super::row::{Place, Row};
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

impl<C> Abroad<C> {
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
        batch: &mut Inbox<C>,
        set: &mut Set<C>,
        bell: &Arc<Bell>,
    ) {
        self.home.take(&mut self.done);
        if shared.has_mail() {
            let first = shared.take_inbox(batch);
            for (index, child) in (first..).zip(batch.drain().filter_map(child)) {
                self.children.push(index as Place, child);
            }
            batch.shrink();
        }
        for index in self.done.drain(..) {
            if let Some(child) = self.children.remove(index as Place) {
                set.insert(child, index, bell);
            }
        }
    }

    /// Gives all who are here.
    pub(super) fn leave(&mut self) -> Row<C> {
        core::mem::take(&mut self.children)
    }
}
