//! Go's figures for the same workloads, from the program in `benches/go`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// The figures by name, such as `limit64/ready/1cpu`, in nanoseconds for each child.
#[derive(Default)]
pub(crate) struct Figures {
    figures: HashMap<String, f64>,
    version: Option<String>,
}

impl Figures {
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// Returns Go's version as the end of a line of Markdown, or nothing without figures.
    pub(crate) fn version(&self) -> String {
        self.version.as_ref().map(|version| format!(" Go: {version}.")).unwrap_or_default()
    }
}

/// Runs Go's program if it and Go are there. It never installs anything.
pub(crate) fn run() -> Figures {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/run");
    if !script.exists() {
        eprintln!("without Go: there is no benches/go/run");
        return Figures::default();
    }
    eprintln!("running Go's program");
    match Command::new(script).arg("--no-install").output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.lines().find_map(|line| line.strip_prefix("# "));
            Figures {
                figures: text.lines().filter_map(parse).collect(),
                version: version.map(String::from),
            }
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            eprintln!("without Go: {}", text.lines().last().unwrap_or("its program failed"));
            Figures::default()
        }
        Err(error) => {
            eprintln!("without Go: {error}");
            Figures::default()
        }
    }
}

fn parse(line: &str) -> Option<(String, f64)> {
    let (name, figure) = line.split_once('\t')?;
    Some((name.to_string(), figure.trim().parse().ok()?))
}
