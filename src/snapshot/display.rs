//! A snapshot as a tree, a line for each child.

use core::fmt::{self, Formatter, Write};

use super::{ChildSnapshot, ChildState, Phase, Snapshot, WaitsFor};

/// Shows a value in one line: escapes what would break it.
pub(super) struct InLine<'a>(pub(super) &'a dyn fmt::Display);

/// Writes a text, and escapes what would break its line.
struct OneLine<'a, 'f>(&'a mut Formatter<'f>);

impl fmt::Display for InLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "{}", self.0)
    }
}

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((at, last)) if last.is_control() => {
                    self.0.write_str(&part[..at])?;
                    write!(self.0, "{}", last.escape_default())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Writes a prefix at the beginning of each line.
struct Indented<'a, 'f> {
    f: &'a mut Formatter<'f>,
    prefix: &'a str,
    at_start: bool,
}

impl Write for Indented<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            if core::mem::replace(&mut self.at_start, line.ends_with('\n')) {
                self.f.write_str(self.prefix)?;
            }
            self.f.write_str(line)?;
        }
        Ok(())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.show_head(f)?;
        for cause in self.causes() {
            writeln!(f, "! {cause}")?;
        }
        let is_last = |left: usize| if left == 0 { "└ " } else { "├ " };
        let mut left = self.children.len() + usize::from(self.omitted > 0) + self.groups.len();
        for child in &self.children {
            left -= 1;
            writeln!(f, "{}{child}", is_last(left))?;
        }
        if self.omitted > 0 {
            left -= 1;
            writeln!(f, "{}and {} more", is_last(left), self.omitted)?;
        }
        for group in &self.groups {
            left -= 1;
            f.write_str(is_last(left))?;
            let prefix = if left == 0 { "  " } else { "│ " };
            write!(Indented { f, prefix, at_start: false }, "{group}")?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn show_head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("group")?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, ": {}", self.phase)?;
        if let (Phase::Stopped | Phase::Ended, Some(reason)) = (self.phase, &self.reason) {
            write!(f, " ({})", InLine(reason))?;
        }
        let stats = &self.stats;
        write!(f, ", {} running", stats.running)?;
        if let Some(limit) = stats.limit {
            write!(f, " of {limit}")?;
        }
        if self.room != stats.running {
            write!(f, " (room taken: {})", self.room)?;
        }
        write!(f, ", {} queued; ", stats.queued)?;
        writeln!(f, "{} ok, {} failed, {} dropped", stats.ok, stats.failed, stats.dropped)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        })
    }
}

impl fmt::Display for ChildSnapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let caller = match self.state {
            ChildState::Offered { .. } | ChildState::Granted => "a caller",
            ChildState::Reserved => "a slot",
            _ => "a child",
        };
        match (self.index, &self.name) {
            (Some(index), Some(name)) => write!(f, "#{index} {name:?}")?,
            (Some(index), None) => write!(f, "#{index}")?,
            (None, Some(name)) => write!(f, "{name:?}")?,
            (None, None) => f.write_str(caller)?,
        }
        if let Some(key) = &self.key {
            write!(f, ", key {}", InLine(key))?;
        }
        if self.weight != 1 {
            write!(f, ", weight {}", self.weight)?;
        }
        if self.priority != 0 {
            write!(f, ", priority {}", self.priority)?;
        }
        if self.daemon {
            f.write_str(", daemon")?;
        }
        write!(f, ": {}", self.state)?;
        match self.polls {
            None | Some(0) => Ok(()),
            Some(1) => f.write_str(", polled once"),
            Some(polls) => write!(f, ", polled {polls} times"),
        }
    }
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let place = |f: &mut Formatter<'_>, behind, waits_for| match (behind, waits_for) {
            (0, WaitsFor::Turn) => f.write_str(" first"),
            (0, _) => write!(f, " first, waits for {waits_for}"),
            (_, WaitsFor::Turn) => write!(f, " behind {behind}"),
            _ => write!(f, " behind {behind}, waits for {waits_for}"),
        };
        match *self {
            Self::Queued { behind, waits_for } => {
                f.write_str("queued")?;
                place(f, behind, waits_for)
            }
            Self::Offered { behind, waits_for, inside } => {
                f.write_str("waits in `go`, `feed` or `reserve`")?;
                if let Some(inside) = inside {
                    write!(f, " inside of #{inside}")?;
                }
                f.write_str(",")?;
                place(f, behind, waits_for)
            }
            Self::Granted => f.write_str("was granted room, and has not been polled since"),
            Self::Reserved => f.write_str("keeps room"),
            Self::Blocked => f.write_str("has room, and waits for a caller before it"),
            Self::Unpolled => f.write_str("not polled yet"),
            Self::Woken => f.write_str("woken, and not polled since"),
            Self::Polled => f.write_str("is being polled"),
            Self::Waiting => f.write_str("waits"),
            Self::Spawned => f.write_str("on its executor"),
            Self::Completed => f.write_str("ended on its executor"),
            Self::Unfetched => f.write_str("finished, result not fetched"),
            Self::Running => f.write_str("runs"),
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "its turn",
            Self::Room => "room",
            Self::Gate => "a gate",
            Self::Permit => "a permit",
            Self::Key => "its key",
            Self::Keys => "the keys of its children",
        })
    }
}
