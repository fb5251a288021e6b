//! [`Start`], the value of `-from`.

use std::str::FromStr;

use minikafka_client_consume::Position;

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Number(u64),
}

impl Start {
    pub(crate) fn position(self) -> Position {
        match self {
            Start::Earliest => Position::Earliest,
            Start::Latest => Position::Latest,
            Start::Number(number) => Position::Number(number),
        }
    }

    /// The same in a topic that was not there when it was asked for: all its messages are later ones.
    pub(super) fn position_in_a_new_topic(self) -> Position {
        match self {
            Start::Earliest | Start::Latest => Position::Earliest,
            Start::Number(number) => Position::Number(number),
        }
    }
}

impl FromStr for Start {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Start, &'static str> {
        match (text, text.parse()) {
            ("earliest", _) => Ok(Start::Earliest),
            ("latest", _) => Ok(Start::Latest),
            (_, Ok(0)) => Err("messages are numbered from 1"),
            (_, Ok(number)) => Ok(Start::Number(number)),
            (_, Err(_)) => Err("neither earliest, nor latest, nor the number of a message"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_and_numbers() {
        assert_eq!("earliest".parse(), Ok(Start::Earliest));
        assert_eq!("latest".parse(), Ok(Start::Latest));
        assert_eq!("17".parse(), Ok(Start::Number(17)));
        for nonsense in ["0", "-1", "", "first", "1.5"] {
            nonsense.parse::<Start>().unwrap_err();
        }
    }
}
