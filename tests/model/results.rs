//! The output of a group: each policy's promise, over the results in the order of their ends.

use errgroup::Reason;

use crate::promises::Id;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    #[default]
    FirstErr,
    Collect,
    AllErrors,
    /// As `AllErrors`, up to so many errors.
    Tolerate(usize),
    /// As `FirstErr`, with a reason of its own.
    WithReason,
    Settle,
    FirstOk,
    FirstDone,
}

/// A result, with the index of its child.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub index: usize,
    pub result: Result<Id, Id>,
}

/// The output of a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<E = Id> {
    FirstErr(Result<(), E>),
    Collect(Result<Vec<Id>, E>),
    AllErrors(Result<(), Vec<E>>),
    Settle(Vec<Result<Id, E>>),
    FirstOk(Result<Id, Vec<E>>),
    FirstDone(Option<Result<Id, E>>),
}

impl Rule {
    /// The reason of [`WithReason`](Self::WithReason).
    pub const REASON: Reason = Reason::Deadline;

    /// Returns why this result stops the group, or `None` if it does not. There were so many
    /// errors, this one included.
    pub fn stops(self, result: Result<Id, Id>, errors: usize) -> Option<Reason> {
        match (self, result) {
            (Self::WithReason, Err(_)) => Some(Self::REASON),
            (Self::Tolerate(most), Err(_)) if errors > most => Some(Reason::Failed),
            (Self::FirstErr | Self::Collect | Self::FirstDone, Err(_)) => Some(Reason::Failed),
            (Self::FirstOk | Self::FirstDone, Ok(_)) => Some(Reason::Done),
            _ => None,
        }
    }

    pub fn output(self, ended: &[Ended]) -> Output {
        let came = || ended.iter().map(|ended| ended.result);
        let first_error = came().find_map(Result::err);
        let errors: Vec<Id> = came().filter_map(Result::err).collect();
        let mut in_order = ended.to_vec();
        in_order.sort_by_key(|ended| ended.index);
        let in_order = in_order.iter().map(|ended| ended.result);
        match self {
            Self::FirstErr | Self::WithReason => Output::FirstErr(first_error.map_or(Ok(()), Err)),
            Self::Collect => Output::Collect(in_order.collect()).with_first(first_error),
            Self::AllErrors | Self::Tolerate(_) => {
                Output::AllErrors(if errors.is_empty() { Ok(()) } else { Err(errors) })
            }
            Self::Settle => Output::Settle(in_order.collect()),
            Self::FirstOk => Output::FirstOk(came().find_map(Result::ok).ok_or(errors)),
            Self::FirstDone => Output::FirstDone(came().next()),
        }
    }
}

impl<E> Output<E> {
    pub fn map_err<F>(self, mut map: impl FnMut(E) -> F) -> Output<F> {
        match self {
            Self::FirstErr(output) => Output::FirstErr(output.map_err(map)),
            Self::Collect(output) => Output::Collect(output.map_err(map)),
            Self::AllErrors(output) => {
                Output::AllErrors(output.map_err(|errors| errors.into_iter().map(map).collect()))
            }
            Self::Settle(output) => {
                Output::Settle(output.into_iter().map(|result| result.map_err(&mut map)).collect())
            }
            Self::FirstOk(output) => {
                Output::FirstOk(output.map_err(|errors| errors.into_iter().map(map).collect()))
            }
            Self::FirstDone(output) => Output::FirstDone(output.map(|result| result.map_err(map))),
        }
    }
}

impl Output {
    /// Puts the error that came first in the place of the first one by index.
    fn with_first(self, error: Option<Id>) -> Self {
        error.map_or(self, |error| Self::Collect(Err(error)))
    }
}
