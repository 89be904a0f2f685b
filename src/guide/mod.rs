//! The guide: one page for each thing that you want to do.
//!
//! Read the first page now and the [hazards] once. The others can wait until you need them.
//!
//! | page | answers |
//! | --- | --- |
//! | [First steps](first_steps) | How do I start? What happens at the first error? |
//! | [Which constructor?](constructors) | `map`, `for_each`, `Group`, `scope`, `results` or `on`? |
//! | [Errors and policies](errors) | What comes out? Which child has failed? |
//! | [Cancellation](cancellation) | How does it end, and how gracefully? |
//! | [Admission](admission) | Backpressure, limits, keys, gates: when does a child start? |
//! | [Results](results) | How do I get the values? |
//! | [Sets in `select!` loops](sets) | What if the set is empty now and then? |
//! | [Parallel children](parallel) | How do I use all cores? |
//! | [Hazards](hazards) | What goes wrong, and what do I write instead? |
//! | [My group hangs](hangs) | What does it wait for, and how do I find out? |
//! | [Observing a group](observing) | How many children run, and when did each start and end? |
//! | [Testing](testing) | How do I test code that uses groups? |
//! | [Groups in libraries](libraries) | How do I name the types? |
//! | [Cookbook](cookbook) | Programs to start from. |
//! | [From Go](from_go), [from Rust](from_rust), [from elsewhere](from_elsewhere) | What replaces what I know? |
//!
//! The modules of the guide exist in the documentation only.

#[doc = include_str!("pictures.md")]
#[doc = include_str!("first_steps.md")]
pub mod first_steps {}

#[doc = include_str!("constructors.md")]
pub mod constructors {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("pictures.md")]
#[doc = include_str!("cancellation.md")]
pub mod cancellation {}

#[doc = include_str!("pictures.md")]
#[doc = include_str!("admission.md")]
pub mod admission {}

#[doc = include_str!("results.md")]
pub mod results {}

#[doc = include_str!("sets.md")]
pub mod sets {}

#[doc = include_str!("parallel.md")]
pub mod parallel {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("hangs.md")]
pub mod hangs {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("libraries.md")]
pub mod libraries {}

#[doc = include_str!("cookbook.md")]
pub mod cookbook {}

#[doc = include_str!("hazards.md")]
pub mod hazards {}

#[doc = include_str!("../../docs/coming-from/go.md")]
pub mod from_go {}

// Its examples need a crate that takes long to build: the package tests/pages tests them.
#[cfg_attr(not(doctest), doc = include_str!("../../docs/coming-from/rust.md"))]
pub mod from_rust {}

#[doc = include_str!("../../docs/coming-from/elsewhere.md")]
pub mod from_elsewhere {}
