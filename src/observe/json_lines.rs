//! Records the events of a group as lines of JSON.

use alloc::string::String;
use core::fmt::{self, Write};
use core::time::Duration;

use super::{Event, Observer, Outcome};

/// An observer that records the [events](Event) of a group, each as a line of JSON.
///
/// The example `timeline` of this crate's repository draws such a record: which children ran when,
/// how long each waited, their weights and their keys.
///
/// It has no clock of its own. `clock` returns the time since a fixed moment, and must never
/// decrease. `write` is called with each line, which has no line break. Both are called when
/// the observer is told the event, which is [at the latest](Observer#order) by the group's next
/// poll. A pair of observers is one observer: `(JsonLines::new(…), other)`.
///
/// # Format
///
/// A line is an object. All of them have `at`, the time in seconds, and `event`. What a child does
/// not have is left out.
///
/// | `event` | its other fields |
/// | --- | --- |
/// | `"queued"` | `queue_index`, `name`, `key`, `weight`, `priority`, `daemon` |
/// | `"started"` | `index`, `queue_index`, `name`, `key`, `weight`, `priority`, `daemon` |
/// | `"finished"` | `index`, `queue_index`, `name`, `key`, `outcome`: `"ok"`, `"failed"`, `"panicked"` or `"dropped"` |
/// | `"rejected"` | `name`, `key`, `stopped`: `true` or `false` |
/// | `"limit"` | `limit`, left out if there is none |
/// | `"stopped"` | `reason`, as it is displayed |
///
/// Later versions may add fields and events.
///
/// # Panics
///
/// A panic of `clock` or `write` is treated like any [panic of an observer](Observer#panics).
///
/// # Examples
///
/// ```
/// use std::io::Write;
/// use std::time::Instant;
///
/// use errgroup::{Group, JsonLines, task};
///
/// # futures::executor::block_on(async {
/// let mut file = Vec::new(); // or a `BufWriter` of a file
/// let start = Instant::now();
/// let write = |line: &str| writeln!(file, "{line}").expect("the record can't be written");
/// let record = JsonLines::new(|| start.elapsed(), write).with_limit(2);
/// let mut group = Group::new().with_limit(2).with_observer(record);
/// group.queue(task(async { Ok::<(), ()>(()) }).name("a").key("x.example"));
/// assert_eq!(group.await, Ok(()));
///
/// let text = String::from_utf8(file).unwrap();
/// let started = text.lines().nth(1).unwrap();
/// assert!(started.contains(r#""event":"started","index":0,"name":"a","key":"x.example""#));
/// # });
/// ```
pub struct JsonLines<K, W> {
    clock: K,
    write: W,
    /// Kept for its capacity.
    line: String,
}

/// So much of that capacity, in bytes, is kept from one line to the next.
const RETAINED_BYTES: usize = 4096;

impl<K: FnMut() -> Duration, W: FnMut(&str)> JsonLines<K, W> {
    /// Makes an observer that calls `write` with a line for each event.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// use errgroup::{Boxed, Group, JsonLines};
    ///
    /// let start = Instant::now();
    /// let record = JsonLines::new(move || start.elapsed(), |line: &str| eprintln!("{line}"));
    /// let group = Group::<Boxed<'_, (), ()>>::new().with_observer(record);
    /// ```
    pub fn new(clock: K, write: W) -> Self {
        Self { clock, write, line: String::new() }
    }

    /// Records the limit with which the group begins, since only a change of it is an event.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::{Boxed, Group, JsonLines};
    ///
    /// let mut lines = Vec::new();
    /// let write = |line: &str| lines.push(line.to_string());
    /// let record = JsonLines::new(|| Duration::ZERO, write).with_limit(2);
    /// drop(Group::<Boxed<'_, (), ()>>::new().with_limit(2).with_observer(record));
    /// assert!(lines[0].ends_with(r#""event":"limit","limit":2}"#));
    /// ```
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.on_event(&Event::LimitChanged { limit: Some(limit) });
        self
    }
}

impl<K: FnMut() -> Duration, W: FnMut(&str)> Observer for JsonLines<K, W> {
    fn on_event(&mut self, event: &Event) {
        let at = (self.clock)();
        self.line.clear();
        self.line.shrink_to(RETAINED_BYTES);
        let written = write_event(&mut self.line, at, event);
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        (self.write)(&self.line);
    }
}

impl<K, W> fmt::Debug for JsonLines<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JsonLines(..)")
    }
}

fn write_event(line: &mut String, at: Duration, event: &Event) -> fmt::Result {
    let (seconds, micros) = (at.as_secs(), at.subsec_micros());
    write!(line, "{{\"at\":{seconds}.{micros:06},\"event\":\"{}\"", kind(event))?;
    if let Some(index) = event.index() {
        write!(line, ",\"index\":{index}")?;
    }
    if let Some(index) = event.queue_index() {
        write!(line, ",\"queue_index\":{index}")?;
    }
    if let Some(name) = event.name() {
        line.push_str(",\"name\":");
        write_str(line, format_args!("{name}"))?;
    }
    if let Some(key) = event.key() {
        line.push_str(",\"key\":");
        write_str(line, format_args!("{key}"))?;
    }
    match event {
        Event::Queued { weight, priority, daemon, .. }
        | Event::Started { weight, priority, daemon, .. } => {
            write!(line, ",\"weight\":{weight},\"priority\":{priority},\"daemon\":{daemon}")?;
        }
        Event::Finished { outcome, .. } => write!(line, ",\"outcome\":\"{}\"", word(*outcome))?,
        Event::Rejected { stopped, .. } => write!(line, ",\"stopped\":{stopped}")?,
        Event::LimitChanged { limit: Some(limit) } => write!(line, ",\"limit\":{limit}")?,
        Event::LimitChanged { limit: None } => {}
        Event::Stopped(reason) => {
            line.push_str(",\"reason\":");
            write_str(line, format_args!("{reason}"))?;
        }
    }
    line.push('}');
    Ok(())
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Queued { .. } => "queued",
        Event::Started { .. } => "started",
        Event::Finished { .. } => "finished",
        Event::Rejected { .. } => "rejected",
        Event::LimitChanged { .. } => "limit",
        Event::Stopped(_) => "stopped",
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::Panicked => "panicked",
        Outcome::Dropped => "dropped",
    }
}

/// Writes a string of JSON. What a `Display` that fails has written is kept.
fn write_str(line: &mut String, text: fmt::Arguments<'_>) -> fmt::Result {
    line.push('"');
    let _ = Escape(line).write_fmt(text);
    line.push('"');
    Ok(())
}

/// Escapes what is written to it, as in a string of JSON.
struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '"' | '\\' => self.0.extend(['\\', letter]),
                // A line break, among others.
                '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(letter))?,
                _ => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_leaves_little_memory_behind() {
        let mut longest = 0;
        let mut record =
            JsonLines::new(|| Duration::ZERO, |line: &str| longest = longest.max(line.len()));
        let name = "\u{1}".repeat(RETAINED_BYTES);
        record.on_event(&Event::Rejected { name: Some(name.into()), key: None, stopped: true });
        record.on_event(&Event::LimitChanged { limit: None });
        assert!(record.line.capacity() <= RETAINED_BYTES);
        assert!(longest > RETAINED_BYTES);
    }
}
