//! [`Keys`], how a line becomes a key and a value.

use std::str::FromStr;

use minikafka_client_produce::Message;

/// How a line becomes a message: all of it is the value, or a key comes first.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    separator: Option<KeySeparator>,
}

/// What stands between the key and the value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeySeparator(Vec<u8>);

impl Keys {
    pub(super) fn new(separator: Option<KeySeparator>) -> Keys {
        Keys { separator }
    }

    /// The message, and how many bytes its value has. As with kcat, a line without the separator has no key, and
    /// an empty key is a key.
    pub(super) fn message<'l>(&self, line: &'l [u8]) -> (Message<'l>, usize) {
        match self.separator.as_ref().and_then(|separator| separator.split(line)) {
            Some((key, value)) => (Message::new(value).key(key), value.len()),
            None => (Message::new(line), line.len()),
        }
    }
}

impl KeySeparator {
    /// What is before the first separator, and what is behind it.
    fn split<'l>(&self, line: &'l [u8]) -> Option<(&'l [u8], &'l [u8])> {
        let at = match self.0[..] {
            [byte] => line.iter().position(|found| *found == byte)?,
            _ => line.windows(self.0.len()).position(|found| found == self.0)?,
        };
        Some((&line[..at], &line[at + self.0.len()..]))
    }
}

impl FromStr for KeySeparator {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<KeySeparator, &'static str> {
        match text {
            "" => Err("it is empty: a line would be all key or all value"),
            "\\t" => Ok(KeySeparator(b"\t".to_vec())),
            _ if text.contains('\n') => Err("it has a newline, which ends a line"),
            _ => Ok(KeySeparator(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        for (separator, line, expected) in [
            (":", "k:v", Some(("k", "v"))),
            (":", "k:v:w", Some(("k", "v:w"))),
            (":", ":v", Some(("", "v"))),
            (":", "k:", Some(("k", ""))),
            (":", "kv", None),
            (":", "", None),
            ("\\t", "k\tv", Some(("k", "v"))),
            ("=>", "k=v=>w", Some(("k=v", "w"))),
            ("ö", "köv", Some(("k", "v"))),
        ] {
            let separator: KeySeparator = separator.parse().unwrap();
            let expected = expected.map(|(key, value)| (key.as_bytes(), value.as_bytes()));
            assert_eq!(separator.split(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn what_separates_nothing_is_refused() {
        assert!("".parse::<KeySeparator>().is_err());
        assert!("\n".parse::<KeySeparator>().is_err());
    }
}
