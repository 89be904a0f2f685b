//! Keys, which name what children have in common: a host, a user, a file.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Names what a child works on, such as a host, so that the children of one key can be limited.
///
/// It is made from a string, an integer or an address, or from a reference to a string or a key. A
/// clone allocates nothing. Integers of different types are equal if their values are; a string is
/// never equal to a number.
///
/// # Examples
///
/// ```
/// use errgroup::Key;
///
/// assert_eq!(Key::from("example.org"), Key::from(String::from("example.org")));
/// assert_eq!(Key::from(7_u8), Key::from(7_i64));
/// assert_ne!(Key::from("7"), Key::from(7));
/// assert_eq!(Key::from(7).to_string(), "7");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(KeyValue);

/// A key's value. Two are compared and dropped under the locks of a group, so it is none of a
/// user's types.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum KeyValue {
    /// An `i128` in two parts, which keep a key at 24 bytes.
    Integer {
        high: i64,
        low: u64,
    },
    /// A `u128` that is no `i128`.
    Large {
        high: u64,
        low: u64,
    },
    Ip(IpAddr),
    Socket(Arc<SocketAddr>),
    Text(Arc<str>),
}

impl Key {
    /// Returns a number that is the same for equal keys, and by which one is found. That takes
    /// longer if other keys have the same.
    pub(crate) fn digest(&self) -> u64 {
        match &self.0 {
            KeyValue::Integer { low, .. } | KeyValue::Large { low, .. } => *low,
            KeyValue::Ip(IpAddr::V4(address)) => u64::from(address.to_bits()),
            KeyValue::Ip(IpAddr::V6(address)) => digest(&address.octets()),
            KeyValue::Socket(address) => match **address {
                SocketAddr::V4(of) => u64::from(of.ip().to_bits()) << 16 | u64::from(of.port()),
                SocketAddr::V6(of) => digest(&of.ip().octets()) ^ u64::from(of.port()),
            },
            KeyValue::Text(text) => digest(text.as_bytes()),
        }
    }

    /// Calls `show` with the value.
    fn show(&self, show: impl FnOnce(&dyn Show) -> fmt::Result) -> fmt::Result {
        match &self.0 {
            KeyValue::Integer { high, low } => show(&(i128::from(*high) << 64 | i128::from(*low))),
            KeyValue::Large { high, low } => show(&(u128::from(*high) << 64 | u128::from(*low))),
            KeyValue::Ip(address) => show(address),
            KeyValue::Socket(address) => show(address),
            KeyValue::Text(text) => show(text),
        }
    }
}

fn digest(bytes: &[u8]) -> u64 {
    // An odd number whose bits look random.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |sum: u64, part: u64| (sum.rotate_left(5) ^ part).wrapping_mul(FACTOR);
    let mut parts = bytes.chunks_exact(8);
    let sum = parts.by_ref().fold(bytes.len() as u64, |sum, part| {
        mix(sum, part.try_into().map_or(0, u64::from_le_bytes))
    });
    parts.remainder().iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}

/// What all values can do.
trait Show: fmt::Debug + fmt::Display {}

impl<T: fmt::Debug + fmt::Display> Show for T {}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(|value| fmt::Display::fmt(value, f))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(|value| f.debug_tuple("Key").field(&value).finish())
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(KeyValue::Text(text.into()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(KeyValue::Text(text.into()))
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Self {
        Self(KeyValue::Text(text))
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Cow<'_, str>> for Key {
    fn from(text: Cow<'_, str>) -> Self {
        Self(KeyValue::Text(text.into()))
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl From<Ipv4Addr> for Key {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Key {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Self(KeyValue::Ip(address))
    }
}

impl From<SocketAddr> for Key {
    fn from(address: SocketAddr) -> Self {
        Self(KeyValue::Socket(address.into()))
    }
}

impl From<i128> for Key {
    fn from(number: i128) -> Self {
        Self(KeyValue::Integer { high: (number >> 64) as i64, low: number as u64 })
    }
}

impl From<u128> for Key {
    fn from(number: u128) -> Self {
        match i128::try_from(number) {
            Ok(number) => number.into(),
            Err(_) => Self(KeyValue::Large { high: (number >> 64) as u64, low: number as u64 }),
        }
    }
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Key {
            fn from(number: $integer) -> Self {
                Self::from(number as i128)
            }
        }
    )*};
}

from_integers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn keys_are_ordered_by_kind_and_then_by_value() {
        let numbers = [i128::MIN, i128::from(i64::MIN) - 1, -1, 0, 1, 1 << 64, i128::MAX];
        let mut keys: Vec<Key> = numbers.into_iter().map(Key::from).collect();
        keys.extend([u128::MAX / 2 + 1, u128::MAX - 1, u128::MAX].map(Key::from));
        keys.extend(["10.0.0.1", "10.0.0.2", "::1"].map(|it| it.parse::<IpAddr>().unwrap().into()));
        keys.extend(
            ["10.0.0.1:80", "10.0.0.1:81"].map(|it| Key::from(it.parse::<SocketAddr>().unwrap())),
        );
        keys.extend(["", "1", "a", "b"].map(Key::from));
        for (n, key) in keys.iter().enumerate() {
            for (other, than) in keys.iter().enumerate() {
                assert_eq!(key.cmp(than), n.cmp(&other), "{key:?}, {than:?}");
                assert_eq!(key == than, n == other);
            }
        }
    }

    #[test]
    fn a_key_shows_what_it_was_made_from() {
        for number in [i128::MIN, -(1 << 64), -1, 0, u64::MAX.into(), i128::MAX] {
            assert_eq!(Key::from(number).to_string(), number.to_string());
        }
        assert_eq!(Key::from(u128::MAX).to_string(), u128::MAX.to_string());
        assert_eq!(Key::from(usize::MAX), Key::from(usize::MAX as u128));
        assert_eq!(
            format!("{:?} {:?}", Key::from("a\n"), Key::from(-7_i8)),
            r#"Key("a\n") Key(-7)"#
        );
        let address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(Key::from(Ipv6Addr::LOCALHOST), Key::from(address.ip()));
        assert_eq!(Key::from(Ipv4Addr::LOCALHOST).to_string(), "127.0.0.1");
        let text = String::from("ab");
        assert_eq!(Key::from(&text), Key::from(Cow::from(&text)));
        assert_eq!(Key::from(&Key::from(&text)), Key::from("ab"));
        assert_eq!(format!("{} {}", Key::from(address), Key::from(address.ip())), "[::1]:80 ::1");
        assert_eq!(format!("{:>4}", Key::from("ab")), "  ab");
    }

    #[test]
    fn the_digests_of_different_keys_differ_mostly() {
        let mut digests = alloc::collections::BTreeSet::new();
        for n in 0..1000_u32 {
            let address = IpAddr::from(n.to_be_bytes());
            let long: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
            let texts = [format!("host-{n}.example.org").into(), Key::from(format!("{n}"))];
            let sockets = [address, long].map(|it| Key::from(SocketAddr::new(it, 80)));
            for key in texts.into_iter().chain(sockets).chain([long.into()]) {
                assert_eq!(key.digest(), key.clone().digest());
                digests.insert(key.digest());
            }
        }
        assert_eq!(digests.len(), 5000);
        assert_ne!(Key::from(1).digest(), Key::from(2).digest());
        assert_ne!(Key::from(1_u128 << 127).digest(), Key::from((1_u128 << 127) + 1).digest());
    }

    #[test]
    fn a_key_is_small() {
        assert_eq!(size_of::<Option<Key>>(), 24);
    }
}
