//! The flags of all benchmarks.

use clap::Parser;

#[derive(Parser, Debug, Clone)]
pub(crate) struct Args {
    /// A few rounds: rough numbers, soon
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the workloads with this in their names
    #[arg(long, value_name = "PART", default_value = "")]
    pub(crate) only: String,
    /// Write the tables and the charts into `docs/`
    #[arg(long, conflicts_with = "only")]
    pub(crate) docs: bool,
    /// Passed by `cargo bench`, and ignored
    #[arg(long, hide = true)]
    bench: bool,
    /// Park this contender's children, and print by how many bytes the process has grown
    #[arg(long, hide = true, value_name = "CONTENDER")]
    pub(crate) resident: Option<String>,
    /// Only the workloads of this benchmark, `peers` or `growth`
    #[arg(long, hide = true, value_name = "BENCHMARK")]
    pub(crate) of: Option<String>,
}

impl Args {
    pub(crate) fn wants(&self, workload: &str) -> bool {
        workload.contains(&self.only)
    }
}
