//! [`Completer`], what Tab offers: commands, flags, their values, and the names of topics and groups.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};
use rustyline::{
    Context, Helper,
    completion::{self, Pair},
    highlight::Highlighter,
    hint::Hinter,
    validate::Validator,
};
use tokio::{runtime::Handle, time};

use super::{
    grammar::commands,
    words::{quoted, words},
};
use crate::{group, target::Target, topic};

/// A server that is slow or away must not hold up the keyboard.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module. It is asked by the terminal's thread, which may block.
pub(super) struct Completer {
    commands: Command,
    target: Target,
    runtime: Handle,
}

impl Completer {
    pub(super) fn new(target: Target, runtime: Handle) -> Completer {
        Completer { commands: commands(), target, runtime }
    }

    /// What may stand where `word` begins, behind other words; all of it, whether or not it begins like `word`.
    fn offers(&self, before: &[String], word: &str) -> Vec<String> {
        let place = Place::after(before, &self.commands);
        match place.value_of {
            Some(arg) => self.values(arg),
            None if word.starts_with('-') && !place.is_behind_dashes => place.flags(word),
            None => {
                let subcommands = place.command.get_subcommands().filter(|each| !each.is_hide_set());
                let names = subcommands.flat_map(Command::get_name_and_visible_aliases);
                let mut offers: Vec<_> = names.map(ToOwned::to_owned).collect();
                offers.extend(place.positional().map(|arg| self.values(arg)).unwrap_or_default());
                offers
            }
        }
    }

    fn values(&self, arg: &Arg) -> Vec<String> {
        match arg.get_id().as_str() {
            "topic" | "topics" => self.ask(topic::names(&self.target)),
            "group" => self.ask(group::names(&self.target)),
            "from" | "to" => ["earliest", "latest"].map(ToOwned::to_owned).to_vec(),
            _ => {
                let values = arg.get_possible_values().into_iter();
                values.map(|value| value.get_name().to_owned()).collect()
            }
        }
    }

    /// No names are no reason to trouble who types: the command will say what is wrong.
    fn ask(&self, names: impl Future<Output = anyhow::Result<Vec<String>>>) -> Vec<String> {
        let answer = self.runtime.block_on(async { time::timeout(PATIENCE, names).await });
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Where in the grammar the next word stands.
struct Place<'c> {
    command: &'c Command,
    /// How many of its arguments without a name are there.
    positionals: usize,
    /// The flag whose value comes next.
    value_of: Option<&'c Arg>,
    /// Behind `--` there are no flags.
    is_behind_dashes: bool,
}

impl<'c> Place<'c> {
    fn after(words: &[String], commands: &'c Command) -> Place<'c> {
        let mut place = Place { command: commands, positionals: 0, value_of: None, is_behind_dashes: false };
        words.iter().for_each(|word| place.pass(word));
        place
    }

    fn pass(&mut self, word: &str) {
        if self.value_of.take().is_some() {
            return;
        }
        if word == "--" {
            self.is_behind_dashes = true;
        } else if word.starts_with('-') && !self.is_behind_dashes {
            self.value_of = self.flag(word).filter(|arg| arg.get_action().takes_values());
        } else if let Some(command) = self.command.find_subcommand(word) {
            self.command = command;
            self.positionals = 0;
        } else {
            self.positionals += 1;
        }
    }

    /// The flag of a word without `=`.
    fn flag(&self, word: &str) -> Option<&'c Arg> {
        let name = word.trim_start_matches('-').replace('_', "-");
        self.command.get_arguments().find(|arg| arg.get_long() == Some(name.as_str()))
    }

    /// All flags, with as many dashes as `word` has.
    fn flags(&self, word: &str) -> Vec<String> {
        let dashes = if word.starts_with("--") { "--" } else { "-" };
        let args = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        args.filter_map(Arg::get_long).map(|name| format!("{dashes}{name}")).collect()
    }

    fn positional(&self) -> Option<&'c Arg> {
        let mut args = self.command.get_positionals();
        let last = self.command.get_positionals().last();
        let repeated = last.filter(|arg| matches!(arg.get_action(), ArgAction::Append));
        args.nth(self.positionals).or(repeated)
    }
}

impl completion::Completer for Completer {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..at];
        let mut before = words(line);
        let begun = before.pop_if(|last| last.at.end == at);
        let (start, word) = begun.map_or((at, String::new()), |word| (word.at.start, word.text));
        let before: Vec<_> = before.into_iter().map(|word| word.text).collect();
        let offers = self.offers(&before, &word);
        let fitting = offers.into_iter().filter(|offer| offer.starts_with(&word));
        let pairs = fitting.map(|offer| Pair { replacement: quoted(&offer) + " ", display: offer });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Completer {
    type Hint = String;
}

impl Highlighter for Completer {}
impl Validator for Completer {}
impl Helper for Completer {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is offered where no server is needed for it.
    fn offers(line: &str, word: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let target = Target::new("127.0.0.1:1", crate::output::Output::Text);
        let completer = Completer::new(target, runtime.handle().clone());
        let before: Vec<_> = words(line).into_iter().map(|word| word.text).collect();
        let mut offers = completer.offers(&before, word);
        offers.retain(|offer| offer.starts_with(word));
        offers
    }

    #[test]
    fn commands_flags_and_values_are_offered() {
        assert_eq!(offers("", "un"), ["unsubscribe"]);
        assert_eq!(offers("", "ex"), ["exit"]);
        assert_eq!(offers("", "pro"), ["producer"]);
        assert_eq!(offers("add", ""), ["topic", "help"]);
        assert_eq!(offers("topic", "de"), ["describe", "delete"]);
        assert_eq!(offers("help topic", "cr"), ["create"]);
        assert_eq!(offers("topic create x", "-p"), ["-partitions"]);
        assert_eq!(offers("topic create x", "--ret"), ["--retention", "--retention-bytes"]);
        assert_eq!(offers("topic list", "-out"), ["-output"]);
        assert_eq!(offers("topic list -output", ""), ["text", "json"]);
        assert_eq!(offers("consume t -from", "e"), ["earliest"]);
        assert_eq!(offers("poll -format", "v"), ["value", "verbose"]);
        assert_eq!(offers("send t", ""), Vec::<String>::new());
        assert_eq!(offers("send --", "-"), Vec::<String>::new());
        assert_eq!(offers("nonsense", "x"), Vec::<String>::new());
    }
}
