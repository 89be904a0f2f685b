//! The examples of `docs/coming-from/rust.md`, which `errgroup::guide` shows but does not test.

#[cfg(doctest)]
#[doc = include_str!("../../docs/coming-from/rust.md")]
struct FromRust;
