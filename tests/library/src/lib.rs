//! A library that offers its users a group, in each of the ways that libraries have: in a field,
//! as an argument, behind a trait object, in a tower service and in an adaptor of streams.
//!
//! No runtime is in the tree of its dependencies. No type is hidden behind an `impl Future`, or
//! behind a box that the group does not need.

#![forbid(unsafe_code)]

pub mod adaptor;
pub mod argument;
pub mod field;
pub mod object;
pub mod service;
