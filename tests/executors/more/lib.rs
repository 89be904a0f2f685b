//! The suite of `executors` on the runtimes that take long to build: see `tests/more.rs`.
