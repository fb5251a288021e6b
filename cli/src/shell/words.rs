//! [`words`], which cuts a line into words.
//!
//! | written | is |
//! |---|---|
//! | `orders` | a word: it ends at a space or a tab |
//! | `'demo topic'` | one word, every character as it stands |
//! | `"a\tb"` | one word; `\n`, `\r`, `\t`, `\\` and `\"` stand for what they stand for in JSON |
//! | `demo" "topic` | one word: quotes may begin anywhere |
//! | `# what follows` | a comment, where a word would begin |

use std::ops::Range;

/// A word, and where in its line it stands, with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Range<usize>,
    /// Whether its last quote is closed.
    pub(super) end: End,
}

/// Whether a word is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fine,
    /// This quote was opened and not closed.
    Open(char),
}

/// The words of a line. Only the last one may have an open quote.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = Cursor { line, at: 0 };
    loop {
        rest.skip_blanks();
        match rest.peek() {
            None | Some('#') => return words,
            Some(_) => words.push(rest.word()),
        }
    }
}

/// A word as it has to be written.
pub(super) fn quoted(text: &str) -> String {
    let needs_none = |c: char| !is_blank(c) && !"'\"#".contains(c);
    if !text.is_empty() && text.chars().all(needs_none) {
        text.to_owned()
    } else if !text.contains('\'') {
        format!("'{text}'")
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

struct Cursor<'l> {
    line: &'l str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.line[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.next();
        }
    }

    fn word(&mut self) -> Word {
        let start = self.at;
        let (mut text, mut end) = (String::new(), End::Fine);
        while let Some(c) = self.peek().filter(|c| !is_blank(*c)) {
            self.next();
            match c {
                '\'' | '"' => end = self.quote(c, &mut text),
                c => text.push(c),
            }
        }
        Word { text, at: start..self.at, end }
    }

    /// What stands between quotes; the first one is behind the cursor.
    fn quote(&mut self, quote: char, text: &mut String) -> End {
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return End::Fine,
                '\\' if quote == '"' => self.escaped(text),
                c => text.push(c),
            }
        }
        End::Open(quote)
    }

    /// What a backslash stands for; before other characters, for itself.
    fn escaped(&mut self, text: &mut String) {
        let stands_for = match self.peek() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('\\' | '"')) => c,
            _ => return text.push('\\'),
        };
        self.next();
        text.push(stands_for);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn quotes_keep_words_together() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t", &[]),
            ("add topic  orders", &["add", "topic", "orders"]),
            ("add topic 'demo topic'", &["add", "topic", "demo topic"]),
            ("demo\" \"topic ''", &["demo topic", ""]),
            (r#""a\tb\n\"\\\x" 'a\tb'"#, &["a\tb\n\"\\\\x", r"a\tb"]),
            (r"back\slash", &[r"back\slash"]),
            ("send # no message", &["send"]),
            ("a#b", &["a#b"]),
            ("# add topic x", &[]),
            ("größe 'π ist'", &["größe", "π ist"]),
        ] {
            assert_eq!(texts(line), expected, "{line}");
        }
    }

    #[test]
    fn an_open_quote_is_known() {
        let last = words("add topic \"demo t").pop().unwrap();
        assert_eq!(last, Word { text: "demo t".to_owned(), at: 10..17, end: End::Open('"') });
        assert_eq!(words("it's").pop().unwrap().end, End::Open('\''));
    }

    #[test]
    fn what_is_quoted_is_read_as_it_was() {
        for text in ["orders", "demo topic", "it's", "a \"b\" 'c'", "", "#1", "tab\there", r"it's \n"] {
            assert_eq!(texts(&quoted(text)), [text], "{}", quoted(text));
        }
    }
}
