//! Turns the digests into lines in path order, and collects the errors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use async_lock::SemaphoreGuardArc;
use errgroup::{ChildInfo, Policy, Reason, Verdict};
use indicatif::{ProgressBar, ProgressStyle};

use crate::files::{self, FoundFile};

/// A line of output, and its file's permit to be ahead.
pub(crate) struct Line {
    text: Vec<u8>,
    _permit: SemaphoreGuardArc,
}

impl Line {
    pub(crate) fn new(digest: &str, file: FoundFile) -> Self {
        let name = files::escaped(&file.path);
        let mark: &[u8] = match name {
            Cow::Owned(_) => b"\\",
            Cow::Borrowed(_) => b"",
        };
        let text = [mark, digest.as_bytes(), b"  ", &name, b"\n"].concat();
        Self { text, _permit: file.permit }
    }
}

/// The group's policy: prints each file's line when the lines before it are printed, and stops the
/// group at the first error, unless it is to keep going.
///
/// The files are admitted in path order, so a child's index is the number of its line. Writing may
/// block the group. That is intended: a slow reader holds back the digesting.
pub(crate) struct Report {
    keep_going: bool,
    stopped: bool,
    bar: ProgressBar,
    /// The index of the next line to print.
    next: usize,
    /// The later lines that exist already; `None` for a file that has failed.
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

    /// Returns the bar, which counts the digested bytes.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Prints the lines that are next in order.
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

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<Line, anyhow::Error>) -> Verdict {
        if self.stopped {
            return Verdict::Continue; // this child was cut short by the stop
        }
        match result {
            Ok(line) => {
                self.waiting.insert(child.index(), Some(line));
            }
            Err(error) => {
                self.errors.insert(child.index(), error);
                if !self.keep_going {
                    self.stopped = true;
                    return Verdict::Stop(Reason::Failed);
                }
                self.waiting.insert(child.index(), None);
            }
        }
        match self.print() {
            Ok(()) => Verdict::Continue,
            Err(error) => {
                // A reader that closes the pipe early is no error; a full disk is.
                if error.kind() != io::ErrorKind::BrokenPipe {
                    let error = anyhow::Error::from(error).context("the output");
                    self.errors.insert(usize::MAX, error);
                }
                self.stopped = true;
                Verdict::Stop(Reason::Done)
            }
        }
    }

    /// Returns the errors, in path order.
    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.bar.finish_and_clear();
        std::mem::take(&mut self.errors).into_values().collect()
    }
}

/// Returns a bar on stderr if that is a terminal and the output isn't piped into a program.
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

/// Returns the file that the output goes to, or `None` if it is no file.
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
