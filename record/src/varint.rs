//! Zigzag varints, as in Protocol Buffers' `sint32` and `sint64`.

use bytes::BufMut;

/// The longest encoding of 64 bits.
pub(crate) const VARLONG_LEN_MAX: usize = 10;

/// Appends `value`.
pub(crate) fn put(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// How many bytes [`put`] appends.
pub(crate) fn len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Takes a value off the front of `input`; `None` when there is no whole one of at most 64 bits.
pub(crate) fn take(input: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for (i, &byte) in input.iter().enumerate().take(VARLONG_LEN_MAX) {
        let bits = u64::from(byte & 0x7f);
        if i == VARLONG_LEN_MAX - 1 && bits > 1 {
            return None; // more than 64 bits
        }
        raw |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *input = &input[i + 1..];
            return Some(unzigzag(raw));
        }
    }
    None
}

/// Takes a value that must fit into 32 bits.
pub(crate) fn take_i32(input: &mut &[u8]) -> Option<i32> {
    take(input).and_then(|value| i32::try_from(value).ok())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_taken(value in any::<i64>()) {
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), len(value));
            let mut input = &out[..];
            prop_assert_eq!(take(&mut input), Some(value));
            prop_assert!(input.is_empty());
            prop_assert_eq!(take(&mut &out[..out.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut input = &bytes[..];
            let _ = take(&mut input);
        }
    }

    #[test]
    fn encodes_as_protocol_buffers_do() {
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-65, &[0x81, 0x01]), (150, &[0xac, 0x02])]
        {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(take(&mut &[0xff; 10][..]), None);
        assert_eq!(take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None);
    }
}
