//! Code that the benchmarks share.

pub(crate) mod args;
pub(crate) mod block_on;
pub(crate) mod chart;
pub(crate) mod children;
pub(crate) mod counts;
pub(crate) mod docs;
pub(crate) mod go;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod runtime;
pub(crate) mod table;
pub(crate) mod workload;
