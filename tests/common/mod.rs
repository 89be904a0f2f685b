//! The helpers of `tests/it`, by the names that the model uses.
#![allow(dead_code)]

#[path = "../it/common.rs"]
mod helpers;

pub(crate) use helpers::{Gate, MockTask as Task, Tap};
