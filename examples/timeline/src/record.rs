//! Reads the record of a group: the lines of [`errgroup::JsonLines`].
//!
//! A line may also be a note, which the picture shows at its time:
//! `{"at":1.25,"event":"note","text":"the cache is warm"}`. Events that are not known are passed
//! over.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead};

use serde_json::{Map, Value};

/// An event and its time, in seconds since the first one.
#[derive(Debug, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at: f64,
    pub(crate) event: Event,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Queued {
        queue_index: u64,
        child: Child,
    },
    Started {
        index: u64,
        queue_index: Option<u64>,
        child: Child,
    },
    Finished {
        index: u64,
        outcome: Outcome,
    },
    /// A child was dropped before it started.
    DroppedFromQueue {
        queue_index: u64,
    },
    Rejected,
    Limit(Option<u64>),
    Stopped {
        reason: String,
    },
    Note(String),
}

/// What a record says of a child.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Child {
    pub(crate) name: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) weight: u64,
    pub(crate) priority: i64,
    pub(crate) daemon: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    Ok,
    Failed,
    Panicked,
    Dropped,
}

/// Why a record can't be read.
#[derive(Debug)]
pub(crate) enum Error {
    Io(io::Error),
    /// A line is not what it should be.
    Line {
        number: usize,
        problem: String,
    },
    Empty,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line { number, problem } => write!(f, "line {number}: {problem}"),
            Self::Empty => f.write_str("the record is empty"),
        }
    }
}

/// Which children of a record are where; so it is known that the events fit together.
#[derive(Default)]
struct Seen {
    queued: BTreeSet<u64>,
    running: BTreeSet<u64>,
    /// The time of the first event, and of the last one.
    begin: Option<f64>,
    last: f64,
}

/// Reads a record.
pub(crate) fn read(record: impl BufRead) -> Result<Vec<Moment>, Error> {
    let (mut moments, mut seen) = (Vec::new(), Seen::default());
    for (number, line) in (1..).zip(record.lines()) {
        let line = match line {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err("it is not UTF-8".to_string())
            }
            line => Ok(line.map_err(Error::Io)?),
        };
        let moment = line.and_then(|line| match line.trim() {
            "" => Ok(None),
            line => seen.read(line),
        });
        moments.extend(moment.map_err(|problem| Error::Line { number, problem })?);
    }
    if moments.is_empty() { Err(Error::Empty) } else { Ok(moments) }
}

impl Seen {
    fn read(&mut self, line: &str) -> Result<Option<Moment>, String> {
        let line: Value = serde_json::from_str(line).map_err(|error| {
            // That it is its first line is of no use.
            format!(
                "it is not JSON: {}",
                error.to_string().replace(" at line 1 column", " at column")
            )
        })?;
        let Value::Object(line) = line else { return Err("it is not an object".into()) };
        let fields = Fields(&line);
        let at = fields.required("at", "a number of seconds", Value::as_f64)?;
        if at < self.last {
            return Err(format!("`at` is {at}, and was {} before", self.last));
        }
        self.last = at;
        let begin = *self.begin.get_or_insert(at);
        let kind = fields.required("event", "a string", Value::as_str)?;
        let event = self.event(kind, &fields)?;
        Ok(event.map(|event| Moment { at: at - begin, event }))
    }

    fn event(&mut self, kind: &str, fields: &Fields<'_>) -> Result<Option<Event>, String> {
        Ok(Some(match kind {
            "queued" => {
                let queue_index = fields.required("queue_index", NUMBER, Value::as_u64)?;
                if !self.queued.insert(queue_index) {
                    return Err(format!(
                        "the child of `queue_index` {queue_index} is queued again"
                    ));
                }
                Event::Queued { queue_index, child: fields.child()? }
            }
            "started" => {
                let index = fields.required("index", NUMBER, Value::as_u64)?;
                let queue_index = self.leaves_queue(fields)?;
                if !self.running.insert(index) {
                    return Err(format!("the child of `index` {index} starts again"));
                }
                Event::Started { index, queue_index, child: fields.child()? }
            }
            "finished" => {
                let outcome = fields.required("outcome", OUTCOMES, outcome)?;
                match fields.optional("index", NUMBER, Value::as_u64)? {
                    Some(index) if self.running.remove(&index) => {
                        Event::Finished { index, outcome }
                    }
                    Some(index) => {
                        return Err(format!("the child of `index` {index} does not run"));
                    }
                    // It had room, and waited only for its turn to start: there is nothing to draw.
                    None => match self.leaves_queue(fields)? {
                        Some(queue_index) => Event::DroppedFromQueue { queue_index },
                        None => return Ok(None),
                    },
                }
            }
            "rejected" => Event::Rejected,
            "limit" => Event::Limit(fields.optional("limit", NUMBER, Value::as_u64)?),
            "stopped" => Event::Stopped { reason: fields.text("reason")? },
            "note" => Event::Note(fields.text("text")?),
            _ => return Ok(None),
        }))
    }

    fn leaves_queue(&mut self, fields: &Fields<'_>) -> Result<Option<u64>, String> {
        let queue_index = fields.optional("queue_index", NUMBER, Value::as_u64)?;
        match queue_index {
            Some(it) if !self.queued.remove(&it) => {
                Err(format!("the child of `queue_index` {it} is not queued"))
            }
            _ => Ok(queue_index),
        }
    }
}

const NUMBER: &str = "a number from 0 on";
const OUTCOMES: &str = "one of ok, failed, panicked and dropped";

fn outcome(value: &Value) -> Option<Outcome> {
    match value.as_str()? {
        "ok" => Some(Outcome::Ok),
        "failed" => Some(Outcome::Failed),
        "panicked" => Some(Outcome::Panicked),
        "dropped" => Some(Outcome::Dropped),
        _ => None,
    }
}

/// The fields of a line.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Returns a field, or `None` if it is left out.
    fn optional<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                None => Err(format!("`{name}` is {value}, and not {what}")),
                found => Ok(found),
            },
        }
    }

    fn required<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, String> {
        self.optional(name, what, read)?.ok_or_else(|| format!("it has no `{name}`"))
    }

    fn text(&self, name: &str) -> Result<String, String> {
        Ok(self.required(name, "a string", Value::as_str)?.to_string())
    }

    fn child(&self) -> Result<Child, String> {
        let text = |name| self.optional(name, "a string", |it| it.as_str().map(String::from));
        Ok(Child {
            name: text("name")?,
            key: text("key")?,
            weight: self.optional("weight", NUMBER, Value::as_u64)?.unwrap_or(1),
            priority: self.optional("priority", "a number", Value::as_i64)?.unwrap_or(0),
            daemon: self.optional("daemon", "a bool", Value::as_bool)?.unwrap_or(false),
        })
    }
}
