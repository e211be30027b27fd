//! Percent encoding, as URIs use it.

use crate::error::{Error, Result};

/// Decodes the percent encoding of a part of a URI.
pub(crate) fn decode(text: &str) -> Result<String> {
    let broken =
        || Error::invalid("uri: % must be followed by two hexadecimal digits of a UTF-8 text");
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, others @ ..] = rest {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, others) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(broken);
        bytes.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
        rest = others;
    }
    String::from_utf8(bytes).map_err(|_| broken())
}
