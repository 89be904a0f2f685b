//! A reason and a key are serialized as what they display.

use serde::{Serialize, Serializer};

use crate::key::Key;
use crate::reason::Reason;

#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
