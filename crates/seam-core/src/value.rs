//! What a header may hold.

use bytes::Bytes;

use crate::Timestamp;

/// The value of a header. A foreign narrower number widens to `I64`, `U64` or `F64`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Nothing; differs from an empty text.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed whole number.
    I64(i64),
    /// An unsigned whole number.
    U64(u64),
    /// A floating-point number, bit for bit.
    F64(f64),
    /// UTF-8.
    Text(Box<str>),
    /// Any bytes.
    Bytes(Bytes),
    /// A point in time.
    Time(Timestamp),
    /// Values in order.
    List(Vec<Value>),
    /// Names and values in order; a name may come twice.
    Map(Vec<(Box<str>, Value)>),
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Bytes of the content: of text and bytes their length, of numbers 8, of lists and maps the sum.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::I64(_) | Self::U64(_) | Self::F64(_) | Self::Time(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(Self::size).sum(),
            Self::Map(items) => items.iter().map(|(name, value)| name.len() + value.size()).sum(),
        }
    }

    /// How deep lists and maps nest in it; 0 for a plain value.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(items) => 1 + items.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Floating-point numbers compare bit for bit, so that what arrives can be held against what was sent.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::U64(a), Self::U64(b)) => a == b,
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

macro_rules! value_from {
    ($($from:ty => $make:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                let make: fn($from) -> Self = $make;
                make(value)
            }
        })*
    };
}

value_from! {
    bool => Self::Bool,
    i32 => |v| Self::I64(v.into()),
    i64 => Self::I64,
    u32 => |v| Self::U64(v.into()),
    u64 => Self::U64,
    f64 => Self::F64,
    &str => |v| Self::Text(v.into()),
    String => |v| Self::Text(v.into()),
    Bytes => Self::Bytes,
    Timestamp => Self::Time,
}
