//! What the builders of a group may do with the policies that come with the crate.

use super::{AllErrors, Collect, Failure, FirstDone, FirstErr, FirstOk, Named, Settle, WithReason};

/// A policy that comes with the crate, and can have [`Failure`]s for errors.
pub trait BuiltIn {
    type Named;

    /// Returns the policy of errors that say which child has failed. It has seen no result.
    fn into_named(self) -> Self::Named;
}

/// A policy that stops at the first error.
pub trait FailFast {}

impl<E> FailFast for FirstErr<E> {}
impl<T, E> FailFast for Collect<T, E> {}
impl<P: FailFast> FailFast for Named<P> {}

macro_rules! built_in {
    ($($policy:ident $($value:ident)?;)*) => {$(
        impl<$($value,)? E> BuiltIn for $policy<$($value,)? E> {
            type Named = Named<$policy<$($value,)? Failure<E>>>;

            fn into_named(self) -> Self::Named {
                Named($policy::new())
            }
        }
    )*};
}

built_in! { FirstErr; Collect T; Settle T; FirstOk T; FirstDone T; }

impl<E> BuiltIn for AllErrors<E> {
    type Named = Named<AllErrors<Failure<E>>>;

    fn into_named(self) -> Self::Named {
        Named(AllErrors { tolerated: self.tolerated, ..AllErrors::new() })
    }
}

impl<P: BuiltIn, F> BuiltIn for WithReason<P, F> {
    type Named = WithReason<P::Named, F>;

    fn into_named(self) -> Self::Named {
        WithReason { policy: self.policy.into_named(), reason: self.reason }
    }
}
