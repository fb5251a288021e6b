//! [`History`], where the lines that were typed are kept.

use std::{
    convert::Infallible,
    env,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

/// The value of `-history`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum History {
    /// Where the desktop's conventions have such files.
    #[default]
    Usual,
    File(PathBuf),
    Off,
}

impl History {
    /// The file, if there is to be one. Its directory is there then.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub(super) fn file(&self) -> io::Result<Option<PathBuf>> {
        let file = match self {
            History::Off => None,
            History::File(file) => Some(file.clone()),
            History::Usual => usual(env::var_os("XDG_STATE_HOME").map(PathBuf::from), env::home_dir()),
        };
        if let Some(directory) = file.as_deref().and_then(Path::parent) {
            // What was sent is nobody else's business; so says the convention, too.
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok(file)
    }
}

/// By the XDG base directory specification, which has relative paths ignored.
fn usual(state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let of_home = || home.filter(|home| home.is_absolute()).map(|home| home.join(".local/state"));
    let state = state.filter(|state| state.is_absolute()).or_else(of_home)?;
    Some(state.join("minikafka/history"))
}

impl FromStr for History {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<History, Infallible> {
        Ok(match text {
            "off" | "" => History::Off,
            file => History::File(file.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_the_conventions_have_it() {
        for (state, home, expected) in [
            (Some("/state"), Some("/home/a"), Some("/state/minikafka/history")),
            (None, Some("/home/a"), Some("/home/a/.local/state/minikafka/history")),
            (Some(""), Some("/home/a"), Some("/home/a/.local/state/minikafka/history")),
            (Some("relative"), None, None),
            (None, Some(""), None),
        ] {
            let file = usual(state.map(Into::into), home.map(Into::into));
            assert_eq!(file, expected.map(Into::into), "{state:?} {home:?}");
        }
    }

    #[test]
    fn it_can_be_turned_off() {
        assert_eq!("off".parse(), Ok(History::Off));
        assert_eq!("".parse(), Ok(History::Off));
        assert_eq!("a/b".parse(), Ok(History::File("a/b".into())));
    }
}
