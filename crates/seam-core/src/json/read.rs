//! From JSON text to a datagram. An error gathers its place on the way out, so that what is right
//! costs nothing for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::MAX_DEPTH;
use super::tree::{Object, Tree};
use crate::{Datagram, Envelope, Error, Id, Timestamp, Value};

pub(super) fn datagram(text: &str) -> Read<Datagram> {
    let tree = serde_json::from_str(text).map_err(|e| Refusal::new(format!("is no JSON: {e}")))?;
    let Tree::Object(members) = tree else {
        return Err(Refusal::new(r#"is no object; a datagram is {"payload": "..", ..}"#));
    };
    let mut fields = Fields::default();
    let mut seen = Vec::with_capacity(FIELDS.len());
    for (name, tree) in members {
        let name = known(&name)?;
        if seen.contains(&name) {
            return Err(Refusal::new("comes twice").within(name));
        }
        seen.push(name);
        fields.set(name, tree).map_err(|refusal| refusal.within(name))?;
    }
    let Fields { tag, payload, envelope } = fields;
    let datagram = payload.map_or_else(Datagram::empty, Datagram::new);
    Ok(datagram.with_tag(tag).with_envelope(envelope))
}

const FIELDS: [&str; 16] = [
    "tag",
    "payload",
    "id",
    "key",
    "kind",
    "content_type",
    "content_encoding",
    "time",
    "expiry",
    "deliver_at",
    "priority",
    "correlation_id",
    "reply_to",
    "headers",
    "fate",
    "error",
];

fn known(name: &str) -> Read<&'static str> {
    FIELDS.into_iter().find(|field| *field == name).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Refusal {
    let (shown, rest) = match name.char_indices().nth(SHOWN) {
        Some((end, _)) => (&name[..end], "..."),
        None => (name, ""),
    };
    let nearest = FIELDS.into_iter().min_by_key(|field| strsim::levenshtein(field, shown));
    let nearest = nearest.expect("a datagram has fields");
    // Debug form: a name from outside must not break the line.
    Refusal::new(format!("has the unknown field {shown:?}{rest}; the nearest is `{nearest}`"))
}

/// How much of an unknown name an error looks at, in characters: it may be as long as the input.
const SHOWN: usize = 32;

#[derive(Default)]
struct Fields {
    tag: u16,
    payload: Option<Bytes>,
    envelope: Envelope,
}

impl Fields {
    fn set(&mut self, name: &str, tree: Tree<'_>) -> Read<()> {
        let envelope = &mut self.envelope;
        match (name, tree) {
            (_, Tree::Null) => {}
            ("tag", tree) => self.tag = whole(&tree)?,
            ("payload", tree) => self.payload = Some(bytes(tree)?),
            ("id", tree) => envelope.id = Some(id(tree)?),
            ("key", tree) => envelope.key = Some(bytes(tree)?),
            ("kind", tree) => envelope.kind = Some(text(tree)?),
            ("content_type", tree) => envelope.content_type = Some(text(tree)?),
            ("content_encoding", tree) => envelope.content_encoding = Some(text(tree)?),
            ("time", tree) => envelope.time = Some(time(&tree)?),
            ("expiry", tree) => envelope.expiry = Some(time(&tree)?),
            ("deliver_at", tree) => envelope.deliver_at = Some(time(&tree)?),
            ("priority", tree) => envelope.priority = Some(whole(&tree)?),
            ("correlation_id", tree) => envelope.correlation_id = Some(bytes(tree)?),
            ("reply_to", tree) => envelope.reply_to = Some(bytes(tree)?),
            ("headers", tree) => envelope.headers = pairs(tree, 0)?,
            // `fate` and `error` tell what once became of it, and nothing of what it is.
            _ => {}
        }
        Ok(())
    }
}

fn whole<N: TryFrom<i64>>(tree: &Tree<'_>) -> Read<N> {
    let number = match tree {
        Tree::I64(number) => N::try_from(*number).ok(),
        _ => None,
    };
    let most = (1_u64 << (8 * size_of::<N>())) - 1;
    number.ok_or_else(|| Refusal::new(format!("is no whole number from 0 to {most}")))
}

fn text(tree: Tree<'_>) -> Read<Box<str>> {
    match tree {
        Tree::Text(text) => Ok(text.into()),
        _ => Err(Refusal::new("is no string")),
    }
}

fn bytes(tree: Tree<'_>) -> Read<Bytes> {
    match tree {
        Tree::Text(text) => return Ok(Bytes::from(text.into_owned())),
        Tree::Object(members) => {
            if let Some(("base64", Tree::Text(text))) = form(&members) {
                return base64(text);
            }
        }
        _ => {}
    }
    Err(Refusal::new(r#"is neither a string nor {"base64": ".."}"#))
}

fn base64(text: &str) -> Read<Bytes> {
    let bytes = STANDARD.decode(text).map(Bytes::from);
    bytes.map_err(|_| Refusal::new("holds base64 that is damaged or without its padding"))
}

fn time(tree: &Tree<'_>) -> Read<Timestamp> {
    let time = match tree {
        Tree::Text(text) => text.parse().ok(),
        _ => None,
    };
    time.ok_or_else(|| Refusal::new("is no time of RFC 3339 such as 2026-01-31T12:00:00Z"))
}

fn id(tree: Tree<'_>) -> Read<Id> {
    match tree {
        Tree::Text(text) => {
            let length = text.len();
            let refusal = |_| Refusal::new(format!("has {length} bytes; it takes 1 to 128"));
            return Id::text(text).map_err(refusal);
        }
        Tree::Object(members) => {
            if let Some(("bytes", Tree::Text(digits))) = form(&members) {
                return hexadecimal::<16>(digits).map(Id::bytes);
            }
        }
        _ => {}
    }
    Err(Refusal::new(r#"is neither a string nor {"bytes": "<32 hexadecimal digits>"}"#))
}

fn hexadecimal<const N: usize>(digits: &str) -> Read<[u8; N]> {
    let mut bytes = [0; N];
    let read = digits.len() == 2 * N
        && digits.as_bytes().chunks_exact(2).zip(&mut bytes).all(|(pair, byte)| {
            let digits = std::str::from_utf8(pair).ok();
            // `from_str_radix` alone would take a sign.
            let digits = digits.filter(|d| d.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let read = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            read.map(|read| *byte = read).is_some()
        });
    let refusal = || Refusal::new(format!("is not of {} hexadecimal digits", 2 * N));
    read.then_some(bytes).ok_or_else(refusal)
}

fn pairs(tree: Tree<'_>, depth: usize) -> Read<Vec<(Box<str>, Value)>> {
    let Tree::List(items) = tree else {
        return Err(Refusal::new("is no array of [name, value]"));
    };
    let pair = |(index, item)| pair(item, depth).map_err(|refusal| refusal.at(index));
    items.into_iter().enumerate().map(pair).collect()
}

fn pair(tree: Tree<'_>, depth: usize) -> Read<(Box<str>, Value)> {
    if let Tree::List(items) = tree
        && let Ok([Tree::Text(name), item]) = <[Tree<'_>; 2]>::try_from(items)
    {
        let item = value(item, depth).map_err(|refusal| refusal.at(1))?;
        return Ok((name.into(), item));
    }
    Err(Refusal::new("is no [name, value]"))
}

/// The value, inside of `depth` lists and maps.
fn value(tree: Tree<'_>, depth: usize) -> Read<Value> {
    Ok(match tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(value),
        Tree::I64(value) => Value::I64(value),
        Tree::U64(value) => Value::U64(value),
        Tree::F64(value) => Value::F64(value),
        Tree::Text(text) => Value::Text(text.into()),
        Tree::List(items) => Value::List(list(items, deeper(depth)?)?),
        Tree::Object(members) => match form(&members) {
            Some(("u64", Tree::Text(digits))) => Value::U64(decimal(digits)?),
            Some(("f64", Tree::Text(digits))) => {
                Value::F64(f64::from_be_bytes(hexadecimal(digits)?))
            }
            Some(("bytes", Tree::Text(text))) => Value::Bytes(base64(text)?),
            Some(("time", text)) => Value::Time(time(text)?),
            Some(("map", _)) => map(members, deeper(depth)?)?,
            _ => return Err(Refusal::new(NO_FORM)),
        },
    })
}

const NO_FORM: &str =
    r#"is of no known form; an object is {"u64", "f64", "bytes" or "time": ".."} or {"map": [..]}"#;

fn list(items: Vec<Tree<'_>>, depth: usize) -> Read<Vec<Value>> {
    let item = |(index, item)| value(item, depth).map_err(|refusal| refusal.at(index));
    items.into_iter().enumerate().map(item).collect()
}

fn map(members: Object<'_>, depth: usize) -> Read<Value> {
    let items = members.into_iter().next().map_or(Tree::Null, |(_, items)| items);
    pairs(items, depth).map(Value::Map).map_err(|refusal| refusal.within("map"))
}

fn deeper(depth: usize) -> Read<usize> {
    if depth == MAX_DEPTH {
        return Err(Refusal::new(format!("nests deeper than {MAX_DEPTH} lists and maps")));
    }
    Ok(depth + 1)
}

fn decimal(digits: &str) -> Read<u64> {
    // `parse` alone would take a sign.
    let digits = Some(digits).filter(|d| d.bytes().all(|digit| digit.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| Refusal::new("is not of decimal digits up to 18446744073709551615"))
}

/// Name and content of an object of one member.
fn form<'a, 'b>(members: &'a Object<'b>) -> Option<(&'a str, &'a Tree<'b>)> {
    match &members[..] {
        [(name, tree)] => Some((name, tree)),
        _ => None,
    }
}

pub(super) type Read<T> = Result<T, Refusal>;

/// What is wrong, and where: `headers[2][1].map[0][1]`.
pub(super) struct Refusal {
    place: String,
    reason: String,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self { place: String::new(), reason: reason.into() }
    }

    fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    fn within(mut self, outer: &str) -> Self {
        let dot = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place.insert_str(0, &format!("{outer}{dot}"));
        self
    }
}

impl From<Refusal> for Error {
    fn from(Refusal { place, reason }: Refusal) -> Self {
        let place = if place.is_empty() { place } else { format!("`{place}` ") };
        Error::invalid("JSON datagram", place + &reason)
    }
}
