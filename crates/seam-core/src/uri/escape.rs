//! Percent-encoding as RFC 3986 has it, and nothing else: `+` is a plus.

use crate::{Error, Result};

/// Kept as they are in the value of a parameter.
pub(super) const VALUE: &str = "/:,*";
/// Kept as they are in a path, whose `/` separates segments.
pub(super) const PATH: &str = "/:,*";
/// Kept as they are in one segment of a path.
pub(super) const SEGMENT: &str = ":,*";
/// Kept as they are in a user or password.
pub(super) const USERINFO: &str = "";

/// `text` with every byte escaped that is neither unreserved nor in `keep`.
pub(super) fn encode(text: &str, keep: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let letter = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(letter) || keep.contains(letter) {
            encoded.push(letter);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// `text` without its escapes. Errors name `what` it is, and show nothing of it.
pub(crate) fn decode(what: &str, text: &str) -> Result<String> {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let Some((byte, rest)) = escaped_byte(piece) else {
            return Err(Error::invalid_endpoint(format!(
                "{what} has a `%` without two hexadecimal digits; write `%` itself as %25"
            )));
        };
        decoded.push(byte);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).map_err(|_| {
        Error::invalid_endpoint(format!(
            "{what} is not UTF-8 once its escapes are read; escape the bytes of UTF-8 text"
        ))
    })
}

fn escaped_byte(piece: &str) -> Option<(u8, &str)> {
    let (digits, rest) = piece.split_at_checked(2)?;
    // `from_str_radix` alone would take `+f`.
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = hexadecimal.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?;
    Some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_plus_and_escapes_are_utf8() {
        assert_eq!(decode("it", "a+b%20c%C3%A9").unwrap(), "a+b cé");
        assert_eq!(encode("a+b cé/*", VALUE), "a%2Bb%20c%C3%A9/*");
        assert_eq!(encode("a/b", SEGMENT), "a%2Fb");
    }

    #[test]
    fn every_broken_escape_is_refused() {
        let digits = "invalid endpoint: it has a `%` without two hexadecimal digits; \
                      write `%` itself as %25";
        for text in ["%", "a%4", "%zz", "%+f", "%é", "100%"] {
            assert_eq!(decode("it", text).unwrap_err().to_string(), digits, "{text}");
        }
        assert_eq!(
            decode("it", "%FF").unwrap_err().to_string(),
            "invalid endpoint: it is not UTF-8 once its escapes are read; \
             escape the bytes of UTF-8 text"
        );
    }
}
