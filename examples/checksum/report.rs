//! What becomes of the digests: lines in the order of the paths, and errors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use errgroup::{Policy, Reason, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use smol::lock::SemaphoreGuardArc;

use crate::files::{self, FoundFile};

/// A line of output, and the place of its file.
pub(crate) struct Line {
    text: Vec<u8>,
    _place: SemaphoreGuardArc,
}

impl Line {
    pub(crate) fn new(digest: &str, file: FoundFile) -> Self {
        let name = files::escaped(&file.path);
        let mark: &[u8] = match name {
            Cow::Owned(_) => b"\\",
            Cow::Borrowed(_) => b"",
        };
        let text = [mark, digest.as_bytes(), b"  ", &name, b"\n"].concat();
        Self { text, _place: file.place }
    }
}

/// The group's policy: prints each file's line when those of the files before it are printed,
/// and stops the group at the first error, unless it is to keep going.
///
/// The files are admitted in path order, so a child's index is its line's place. Writing may
/// block the group, which is meant: a reader who is slow holds back the digesting.
pub(crate) struct Report {
    keep_going: bool,
    stopped: bool,
    bar: ProgressBar,
    /// The index of the line that is to be printed next.
    next: usize,
    /// The lines behind it that are there already; nothing for a file that has failed.
    waiting: BTreeMap<usize, Option<Line>>,
    errors: BTreeMap<usize, anyhow::Error>,
}

impl Report {
    pub(crate) fn new(keep_going: bool) -> Self {
        Self {
            keep_going,
            stopped: false,
            bar: progress_bar(),
            next: 0,
            waiting: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// The bar, which counts the bytes that are digested.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Prints the lines whose turn it is.
    fn print(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        while let Some(line) = self.waiting.remove(&self.next) {
            self.next += 1;
            text.extend(line.into_iter().flat_map(|line| line.text));
        }
        if text.is_empty() {
            return Ok(());
        }
        self.bar.set_message(self.next.to_string());
        self.bar.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&text)?;
            stdout.flush()
        })
    }
}

impl Policy<Line, anyhow::Error> for Report {
    type Output = Vec<anyhow::Error>;

    fn on_child(&mut self, index: usize, result: Result<Line, anyhow::Error>) -> Verdict {
        if self.stopped {
            return Verdict::Continue; // whoever was still running has been cut short
        }
        match result {
            Ok(line) => {
                self.waiting.insert(index, Some(line));
            }
            Err(error) => {
                self.errors.insert(index, error);
                if !self.keep_going {
                    self.stopped = true;
                    return Verdict::Stop(Reason::Failed);
                }
                self.waiting.insert(index, None);
            }
        }
        match self.print() {
            Ok(()) => Verdict::Continue,
            Err(error) => {
                // Who reads has seen enough, which is fine; a disk that is full is not.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    let error = anyhow::Error::from(error).context("the output");
                    self.errors.insert(usize::MAX, error);
                }
                self.stopped = true;
                Verdict::Stop(Reason::Done)
            }
        }
    }

    /// The errors, in path order.
    fn finish(&mut self) -> Self::Output {
        self.bar.finish_and_clear();
        std::mem::take(&mut self.errors).into_values().collect()
    }
}

/// A bar on stderr where that is a terminal and the output isn't piped into something.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() || !(io::stdout().is_terminal() || output_file().is_some()) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message("0");
    let style = ProgressStyle::with_template(
        "{spinner} {elapsed_precise}  files: {msg}  read: {binary_bytes}, {binary_bytes_per_sec}",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// The file that the output goes to, if it is a file.
#[cfg(unix)]
pub(crate) fn output_file() -> Option<Metadata> {
    use std::os::fd::AsFd;
    let output = io::stdout().as_fd().try_clone_to_owned().ok()?;
    let metadata = std::fs::File::from(output).metadata().ok()?;
    metadata.is_file().then_some(metadata)
}

#[cfg(not(unix))]
pub(crate) fn output_file() -> Option<Metadata> {
    None
}

#[cfg(unix)]
pub(crate) fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
pub(crate) fn is_same(_: &Metadata, _: &Metadata) -> bool {
    false
}
