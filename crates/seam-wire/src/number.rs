//! Numbers and fixed fields in the bodies of frames. Each number has one form, the shortest.

use std::borrow::Cow;

use std::time::Duration;

/// With what is wrong.
pub(crate) type Read<T> = Result<T, Cow<'static, str>>;

/// Appends `number` in LEB128: seven bits a byte, lowest first.
#[inline]
pub(crate) fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    into.push(low_byte(number));
}

#[inline]
fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

/// Bytes that [`put`] appends.
pub(crate) fn size(number: u64) -> usize {
    let mut bytes = 1;
    let mut rest = number >> 7;
    while rest > 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

/// Appends a text with its length.
pub(crate) fn put_text(into: &mut Vec<u8>, text: &str) {
    put(into, wide(text.len()));
    into.extend_from_slice(text.as_bytes());
}

/// Appends a duration in whole milliseconds, rounded up.
pub(crate) fn put_millis(into: &mut Vec<u8>, duration: Duration) {
    put(into, u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
}

pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

pub(crate) fn narrow(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What is not yet read of a body.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    #[inline]
    pub(crate) fn number(&mut self) -> Read<u64> {
        if let Some((&byte, rest)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(byte));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Read<u64> {
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

    pub(crate) fn length(&mut self) -> Read<usize> {
        self.number().map(narrow)
    }

    pub(crate) fn attempt(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| "an attempt of over 32 bits".into())
    }

    pub(crate) fn duration(&mut self) -> Read<Duration> {
        self.number().map(Duration::from_millis)
    }

    pub(crate) fn text(&mut self, limit: usize) -> Read<&'a str> {
        let length = self.length()?;
        if length > limit {
            return Err(format!("a text of {length} bytes, over the limit of {limit}").into());
        }
        std::str::from_utf8(self.bytes(length)?).map_err(|_| "a text is not UTF-8".into())
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A byte of flags of which only `known` may be set.
    pub(crate) fn flags(&mut self, known: u8) -> Read<u8> {
        let flags = self.byte()?;
        if flags & !known != 0 {
            return Err(format!("reserved flags in {flags:#04x}").into());
        }
        Ok(flags)
    }

    pub(crate) fn end(&self) -> Read<()> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(format!("{more} bytes too many").into()),
        }
    }
}

pub(crate) fn cut_short() -> Cow<'static, str> {
    "it is cut short".into()
}
