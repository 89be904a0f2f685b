//! The flags of all benchmarks.

use clap::Parser;

#[derive(Parser, Debug, Clone)]
pub(crate) struct Args {
    /// Few rounds: rough numbers, soon
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only the work whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    pub(crate) only: String,
    /// Write the tables and the charts into `docs/`
    #[arg(long, conflicts_with = "only")]
    pub(crate) docs: bool,
    /// Passed by `cargo bench`, and of no meaning here
    #[arg(long, hide = true)]
    bench: bool,
    /// Park this contender's children, and print by how much the process has grown
    #[arg(long, hide = true, value_name = "CONTENDER")]
    pub(crate) resident: Option<String>,
}

impl Args {
    pub(crate) fn wants(&self, work: &str) -> bool {
        work.contains(&self.only)
    }
}
