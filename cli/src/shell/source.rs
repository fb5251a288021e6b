//! [`Source`], where lines come from.

use anyhow::{anyhow, bail};

use super::{history::History, terminal::Terminal};
use crate::{
    count::Size,
    produce::{Input, LINE_BYTES_MAX, Lines},
    target::Target,
};

/// A terminal, or a script.
#[derive(Debug)]
pub(super) enum Source {
    Terminal(Terminal),
    Script(Script),
}

impl Source {
    pub(super) fn terminal(target: Target, history: &History) -> anyhow::Result<Source> {
        Ok(Source::Terminal(Terminal::open(target, history)?))
    }

    /// The standard input.
    pub(super) fn script() -> Source {
        Source::Script(Script { input: Input::stdin(), lines: Lines::default(), is_at_end: false })
    }

    /// The next line; `None` at the end. Cancel-safe.
    ///
    /// # Errors
    /// When nothing more can be read.
    pub(super) async fn next(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        match self {
            Source::Terminal(terminal) => terminal.next(prompt).await,
            Source::Script(script) => script.next().await,
        }
    }

    /// A command was ended by Ctrl-C: what was pasted behind it is not wanted any more.
    pub(super) fn give_up_rest(&mut self) {
        if let Source::Terminal(terminal) = self {
            terminal.give_up_rest();
        }
    }

    /// Leaves the terminal as it was found, also in the middle of a line.
    pub(super) fn restore(&self) {
        if let Source::Terminal(terminal) = self {
            terminal.restore();
        }
    }
}

/// The lines of an input that nobody types.
#[derive(Debug)]
pub(super) struct Script {
    input: Input,
    lines: Lines,
    is_at_end: bool,
}

impl Script {
    async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if self.is_at_end {
                return Ok(None);
            }
            if let Some(line) = self.lines.next() {
                return text(line).map(Some);
            }
            match self.input.next().await? {
                Some(block) if self.lines.push(&block).is_ok() => {}
                Some(_) => {
                    bail!("a line is longer than {}, the limit of a line", Size(LINE_BYTES_MAX as u64))
                }
                None => {
                    self.is_at_end = true;
                    return self.lines.last().map(text).transpose();
                }
            }
        }
    }
}

fn text(line: &[u8]) -> anyhow::Result<String> {
    let text = str::from_utf8(line).map_err(|error| anyhow!("a line of the script is not text: {error}"))?;
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
