//! From bytes to a datagram. Every length is held against what is left before it is believed.

use std::borrow::Cow;

use bytes::Bytes;

use super::{MAX_DEPTH, Most, VERSION, code};
use crate::{Datagram, Envelope, Id, Timestamp, Value};

pub(super) fn datagram(bytes: &[u8], apart: Option<Bytes>, most: Most) -> Read<Datagram> {
    let mut rest = Rest { bytes: checked(bytes)?, most, spent: 0 };
    let form = rest.byte()?;
    let tag = u16::from_be_bytes(rest.array()?);
    let datagram = match (form, apart) {
        (code::NONE, _) => Datagram::empty(),
        (code::EMPTY, _) => Datagram::new(""),
        (code::HERE, None) => match rest.bytes()? {
            [] => return Err("an empty payload is not marked as empty".into()),
            payload => Datagram::copy_from(0, payload),
        },
        (code::HERE, Some(_)) => return Err("its payload is in it, and came apart too".into()),
        (code::APART, Some(payload)) if payload.is_empty() => {
            return Err("its payload travels apart and is not empty, but an empty one came".into());
        }
        (code::APART, Some(payload)) => Datagram::new(payload),
        (code::APART, None) => {
            return Err("its payload travels apart; read it with `decode_with`".into());
        }
        (form, _) => return Err(format!("unknown payload form {form}").into()),
    };
    Ok(datagram.with_tag(tag).with_envelope(rest.envelope()?))
}

/// The next part of a sequence.
pub(super) fn part<'a>(sequence: &mut &'a [u8]) -> Read<&'a [u8]> {
    let mut rest = Rest { bytes: sequence, most: Most::ANY, spent: 0 };
    let part = rest.bytes()?;
    *sequence = rest.bytes;
    Ok(part)
}

/// What lies between version and checksum, once both are right.
fn checked(bytes: &[u8]) -> Read<&[u8]> {
    match bytes.first() {
        None | Some(&VERSION) => {}
        Some(version) => {
            return Err(format!("version {version} is unknown; this one reads {VERSION}").into());
        }
    }
    let (content, checksum) = bytes.split_last_chunk().ok_or_else(cut_short)?;
    if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return Err("its checksum is wrong: it is damaged or cut short".into());
    }
    content.get(1..).ok_or_else(cut_short)
}

/// What is not yet read.
#[derive(Clone)]
struct Rest<'a> {
    bytes: &'a [u8],
    most: Most,
    /// Bytes of headers so far.
    spent: usize,
}

impl<'a> Rest<'a> {
    fn envelope(&mut self) -> Read<Envelope> {
        let mut envelope = Envelope::default();
        let mut last = 0;
        while let Some((&field, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            if field <= last {
                return Err(format!("field {field} comes after field {last}").into());
            }
            // The two forms of an id are one field, which comes once.
            last = field.max(if field == code::ID_TEXT { code::ID_BYTES } else { 0 });
            self.field(field, &mut envelope)?;
        }
        Ok(envelope)
    }

    fn field(&mut self, field: u8, envelope: &mut Envelope) -> Read<()> {
        match field {
            code::ID_TEXT => envelope.id = Some(self.id()?),
            code::ID_BYTES => envelope.id = Some(Id::bytes(self.array()?)),
            code::KEY => envelope.key = Some(self.owned_bytes()?),
            code::KIND => envelope.kind = Some(self.text()?.into()),
            code::CONTENT_TYPE => envelope.content_type = Some(self.text()?.into()),
            code::CONTENT_ENCODING => envelope.content_encoding = Some(self.text()?.into()),
            code::TIME => envelope.time = Some(self.moment()?),
            code::EXPIRY => envelope.expiry = Some(self.moment()?),
            code::DELIVER_AT => envelope.deliver_at = Some(self.moment()?),
            code::PRIORITY => envelope.priority = Some(self.byte()?),
            code::CORRELATION_ID => envelope.correlation_id = Some(self.owned_bytes()?),
            code::REPLY_TO => envelope.reply_to = Some(self.owned_bytes()?),
            code::HEADERS => {
                self.clone().weigh()?;
                envelope.headers = self.pairs(0)?;
                if envelope.headers.is_empty() {
                    return Err("field 13 has no headers".into());
                }
            }
            field => return Err(format!("unknown field {field}").into()),
        }
        Ok(())
    }

    fn id(&mut self) -> Read<Id> {
        let text = self.text()?;
        Id::text(text)
            .map_err(|_| format!("an id of {} bytes; it takes 1 to 128", text.len()).into())
    }

    /// A value inside of `depth` lists and maps.
    fn value(&mut self, depth: usize) -> Read<Value> {
        Ok(match self.byte()? {
            code::NULL => Value::Null,
            code::FALSE => Value::Bool(false),
            code::TRUE => Value::Bool(true),
            code::I64 => Value::I64(self.signed()?),
            code::U64 => Value::U64(self.number()?),
            code::F64 => Value::F64(f64::from_be_bytes(self.array()?)),
            code::TEXT => Value::Text(self.text()?.into()),
            code::BYTES => Value::Bytes(self.owned_bytes()?),
            code::MOMENT => Value::Time(self.moment()?),
            code::LIST => Value::List(self.values(deeper(depth)?)?),
            code::MAP => Value::Map(self.pairs(deeper(depth)?)?),
            kind => return Err(format!("unknown kind of value {kind}").into()),
        })
    }

    /// Holds headers against what is read at most, before room is made for any.
    fn weigh(mut self) -> Read<()> {
        let (count, most) = (self.length()?, self.most.headers);
        if count > most {
            return Err(format!("its count of headers is {count}, over the limit of {most}").into());
        }
        (0..count).try_for_each(|_| self.weigh_pair(0))
    }

    fn weigh_pair(&mut self, depth: usize) -> Read<()> {
        let name = self.text()?;
        self.spend(name.len())?;
        self.weigh_value(depth)
    }

    fn weigh_value(&mut self, depth: usize) -> Read<()> {
        let value = match self.byte()? {
            code::LIST => {
                let (depth, count) = (deeper(depth)?, self.length()?);
                return (0..count).try_for_each(|_| self.weigh_value(depth));
            }
            code::MAP => {
                let (depth, count) = (deeper(depth)?, self.length()?);
                return (0..count).try_for_each(|_| self.weigh_pair(depth));
            }
            code::TEXT | code::BYTES => {
                let length = self.bytes()?.len();
                return self.spend(length);
            }
            code::F64 => Value::F64(f64::from_be_bytes(self.array()?)),
            code::I64 | code::U64 | code::MOMENT => Value::U64(self.number()?),
            _ => Value::Null,
        };
        self.spend(value.size())
    }

    /// Counts what a header takes.
    fn spend(&mut self, bytes: usize) -> Read<()> {
        self.spent += bytes;
        let most = self.most.header_bytes;
        if self.spent > most {
            return Err(format!("its headers are over the limit of {most} bytes").into());
        }
        Ok(())
    }

    fn values(&mut self, depth: usize) -> Read<Vec<Value>> {
        let count = self.length()?;
        // Not `collect`: a range would reserve what the count claims.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    fn pairs(&mut self, depth: usize) -> Read<Vec<(Box<str>, Value)>> {
        let (count, most) = (self.length()?, self.most.headers);
        if depth == 0 && count > most {
            return Err(format!("its count of headers is {count}, over the limit of {most}").into());
        }
        let mut pairs = Vec::new();
        for _ in 0..count {
            let name = self.text()?;
            self.spend(name.len())?;
            pairs.push((name.into(), self.value(depth)?));
        }
        Ok(pairs)
    }

    fn moment(&mut self) -> Read<Timestamp> {
        let millis = self.signed()?;
        Timestamp::from_millis(millis)
            .map_err(|_| format!("a time of {millis} ms is outside the years 0000 to 9999").into())
    }

    fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8".into())
    }

    fn owned_bytes(&mut self) -> Read<Bytes> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length()?;
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or_else(cut_short)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// A length in bytes or a count of items, each of which takes a byte at least.
    fn length(&mut self) -> Read<usize> {
        let claimed = self.number()?;
        let length = usize::try_from(claimed).ok().filter(|length| *length <= self.bytes.len());
        let lie = || format!("a length of {claimed}, over the rest of {}", self.bytes.len());
        length.ok_or_else(|| lie().into())
    }

    fn signed(&mut self) -> Read<i64> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn number(&mut self) -> Read<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err("a number of over 64 bits".into());
            }
            number |= u64::from(byte & 0x7f) << shift;
            match byte {
                0 if shift > 0 => return Err("a number with needless bytes".into()),
                0..0x80 => return Ok(number),
                _ => shift += 7,
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or_else(cut_short)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Read<u8> {
        self.array().map(|[byte]| byte)
    }
}

fn deeper(depth: usize) -> Read<usize> {
    if depth == MAX_DEPTH {
        return Err(format!("a header nests deeper than {MAX_DEPTH} lists and maps").into());
    }
    Ok(depth + 1)
}

fn cut_short() -> Cow<'static, str> {
    "it is cut short".into()
}

/// With what is wrong.
pub(super) type Read<T> = Result<T, Cow<'static, str>>;
