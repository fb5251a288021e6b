//! The commands, and how a line becomes one.
//!
//! Words become a command as the arguments of the programs do, by clap: so each has its `help`, says what is wrong with
//! it, and takes flags with one dash or two. `topic`, `group` and `producer` are those of `minikafka`.

use std::{num::NonZeroU64, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand};
use minikafka_flags::parse_duration;

use super::words::{End, Word, words};
use crate::{
    consume::{Format, at_least_one},
    group,
    output::Output,
    place::Place,
    producer, topic,
};

const READING: &str = "\
A word with spaces stands in quotes: 'demo topic'. Between double quotes, \\n,
\\t, \\\\ and \\\" are what they are in JSON. The message of send is the rest of the
line as it stands, unless that is one word in quotes. # begins a comment.

help COMMAND says more. Tab completes, the arrows bring back earlier lines,
Ctrl-R searches them. Ctrl-C gives up the line, or ends what runs; Ctrl-D leaves.";

const SEND_EXAMPLES: &str = "\
Examples:
  send orders a book, two pens
  send orders {\"id\": 17, \"name\": \"it's\"}
  send orders \"two\\nlines\"
  send -key alice -partition 2 'demo topic' in

The message is the rest of the line as it stands, unless that is one word in quotes.";

const CONSUME_EXAMPLES: &str = "\
Examples:
  consume orders
  consume orders -from latest
  consume orders -partition 2 -from 100 -count 10
  consume orders -until-end -format json

Without -count or -until-end it goes on until Ctrl-C.";

const JOIN_EXAMPLES: &str = "\
Examples:
  join billing
  join billing -from earliest
  join billing -from 10m

A shell is a member of one group at a time; leave ends that. Between two polls it
keeps its membership, and gives up partitions when others join.";

const POLL_EXAMPLES: &str = "\
Examples:
  poll
  poll -wait 1m
  poll -count 10 -format verbose

Prints what is there for this member: each message reaches one member of the
group. What was printed counts as done, and is committed soon after.";

/// A line.
#[derive(Debug, Parser)]
#[command(multicall = true, help_template = "Commands:\n{subcommands}{after-help}", after_help = READING)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What a line asks for.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Adds a topic
    Add {
        #[command(subcommand)]
        what: Addition,
    },
    /// Removes a topic and its messages, without asking
    Remove {
        #[command(subcommand)]
        what: Removal,
    },
    /// Sends a message
    #[command(after_help = SEND_EXAMPLES)]
    Send(Sending),
    /// Reads a topic from now on, with poll
    Subscribe {
        /// Names of topics; they need not be there yet
        #[arg(value_name = "TOPIC", required = true)]
        topics: Vec<String>,
    },
    /// Reads a topic no more
    Unsubscribe {
        /// Names of topics
        #[arg(value_name = "TOPIC", required = true)]
        topics: Vec<String>,
    },
    /// Joins a consumer group, whose members share the messages of what they subscribe to
    #[command(after_help = JOIN_EXAMPLES)]
    Join {
        /// Name of the group
        group: String,
        /// Where a new group starts: earliest, latest, how long ago, or a time, which is UTC without an offset
        #[arg(long, default_value = "latest", value_name = "PLACE", value_parser = in_all_partitions)]
        from: Place,
    },
    /// Leaves the group
    Leave,
    /// Prints the next messages of the topics that are subscribed to
    #[command(after_help = POLL_EXAMPLES)]
    Poll(Polling),
    /// Prints what this shell is subscribed to, and how far it has come
    Status,
    /// Prints the messages of a topic, without a group
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(Consuming),
    /// Lists, describes, creates, alters and deletes topics
    Topic {
        #[command(subcommand)]
        action: topic::Action,
        #[command(flatten)]
        printing: Printing,
    },
    /// Lists, describes, moves and deletes consumer groups
    Group {
        #[command(subcommand)]
        action: group::Action,
        #[command(flatten)]
        printing: Printing,
    },
    /// Lists the idempotent producers of topics
    Producer {
        #[command(subcommand)]
        action: producer::Action,
        #[command(flatten)]
        printing: Printing,
    },
    /// Leaves the shell
    #[command(visible_alias = "exit")]
    Quit,
}

#[derive(Debug, Subcommand)]
pub(super) enum Addition {
    /// Adds a topic; the same as topic create
    Topic(topic::NewTopic),
}

#[derive(Debug, Subcommand)]
pub(super) enum Removal {
    /// Removes a topic and its messages, without asking; the same as topic delete
    Topic {
        /// Name of the topic
        topic: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Sending {
    /// Sends it to the partition of this key
    #[arg(long, allow_hyphen_values = true)]
    pub(super) key: Option<String>,
    /// Sends it to this partition, counted from 0
    #[arg(long, value_name = "N")]
    pub(super) partition: Option<u32>,
    /// Name of the topic; it is created when it is not there
    pub(super) topic: String,
    /// The message
    pub(super) message: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Polling {
    /// How long to wait when nothing is there, as in 500ms, 30s or 1m
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(super) wait: Duration,
    /// Ends after so many messages
    #[arg(long, value_name = "N", default_value = "500", value_parser = at_least_one)]
    pub(super) count: NonZeroU64,
    /// How to print a message: value, json or verbose
    #[arg(long, value_enum, default_value_t = Format::Value, hide_possible_values = true)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Consuming {
    /// Name of the topic
    pub(super) topic: String,
    /// Reads this partition only, counted from 0
    #[arg(long, value_name = "N")]
    pub(super) partition: Option<u32>,
    /// Where to start: earliest, latest, the number of a message, how long ago, or a time, which is UTC without an offset
    #[arg(long, default_value = "earliest", value_name = "PLACE")]
    pub(super) from: Place,
    /// Ends after so many messages
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) count: Option<NonZeroU64>,
    /// Ends at the end as it is at the start
    #[arg(long)]
    pub(super) until_end: bool,
    /// How to print a message: value, json or verbose
    #[arg(long, value_enum, default_value_t = Format::Value, hide_possible_values = true)]
    pub(super) format: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct Printing {
    /// How to print: text or json
    #[arg(long, value_enum, default_value_t = Output::Text, hide_possible_values = true, global = true)]
    pub(super) output: Output,
}

/// Numbers count in each partition: a group has no use for one.
fn in_all_partitions(text: &str) -> Result<Place, &'static str> {
    match text.parse() {
        Ok(Place::Number(_)) | Err(_) => {
            Err("neither earliest, latest, a time like 2026-01-31T12:00:00Z, nor how long ago, like 1h30m")
        }
        place => place,
    }
}

/// What a line is.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Blank, or a comment.
    Nothing,
    Command(Command),
    /// What was asked for, to be printed.
    Help(String),
    /// What is wrong with it.
    Nonsense(String),
}

/// All commands, for those who complete lines.
pub(super) fn commands() -> clap::Command {
    let mut commands = Line::command();
    // `help` and its subcommands appear with that.
    commands.build();
    for_lines(commands)
}

/// Reads a line.
pub(super) fn parse(line: &str) -> Parsed {
    let mut words = words(line);
    if words.first().is_some_and(|first| first.text == "send") {
        join_message(line, &mut words);
    }
    if let Some(End::Open(quote)) = words.last().map(|last| last.end) {
        return Parsed::Nonsense(format!("the quote {quote} is not closed"));
    }
    let Some(first) = words.first() else { return Parsed::Nothing };
    // clap would take the first word for the path of a program.
    if first.text.contains(['/', '.']) {
        return Parsed::Nonsense(format!(
            "unrecognized command '{}': help lists those there are",
            first.text
        ));
    }
    match from_words(&words) {
        Ok(command) => Parsed::Command(command),
        Err(error) if error.use_stderr() => Parsed::Nonsense(said(&error)),
        Err(help) => Parsed::Help(help.to_string()),
    }
}

fn from_words(words: &[Word]) -> Result<Command, clap::Error> {
    use clap::FromArgMatches as _;
    let mut command = commands();
    // Where the name of a program would stand.
    let args = std::iter::once("minikafka".into()).chain(words.iter().map(|word| word.text.clone().into()));
    let args = minikafka_flags::go_style(args, &command).into_iter().skip(1);
    let matches = command.try_get_matches_from_mut(args)?;
    Ok(Line::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?.command)
}

/// Makes one word of the message of `send`, which begins behind the topic.
fn join_message(line: &str, words: &mut Vec<Word>) {
    let mut topic = 1;
    while let Some(word) = words.get(topic).filter(|word| word.text.starts_with('-')) {
        let takes_next = !word.text.contains('=');
        topic += 1;
        if word.text == "--" {
            break;
        }
        if matches!(word.text.as_str(), "-h" | "-help" | "--help") {
            return;
        }
        topic += usize::from(takes_next);
    }
    let Some(end) = words.get(topic).map(|word| word.at.end) else { return };
    let rest = line[end..].trim_start_matches([' ', '\t']);
    let is_one_in_quotes = match &words[topic + 1..] {
        [only] => only.end == End::Fine && rest.starts_with(['\'', '"']),
        _ => false,
    };
    if !is_one_in_quotes && !rest.is_empty() {
        words.truncate(topic + 1);
        let text = rest.trim_end_matches(['\r', '\n']).to_owned();
        words.push(Word { text, at: line.len() - rest.len()..line.len(), end: End::Fine });
    }
    // A message may begin with a dash.
    if words.get(topic - 1).is_none_or(|word| word.text != "--") {
        words.insert(topic, Word { text: "--".to_owned(), at: end..end, end: End::Fine });
    }
}

/// What clap says, in the words of who types lines, and without what helps nobody there.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let is_of_use = |line: &&str| {
        !line.is_empty() && !line.starts_with("For more information") && *line != "Usage: <COMMAND>"
    };
    let lines = text.strip_prefix("error: ").unwrap_or(&text).lines().filter(is_of_use);
    lines.collect::<Vec<_>>().join("\n").replace("subcommand", "command")
}

/// The examples of `minikafka` as they are written here: without its name, on the server of the shell, and without
/// pipes.
fn for_lines(command: clap::Command) -> clap::Command {
    let command = match command.get_after_help().map(ToString::to_string) {
        Some(help) if help.contains("  minikafka ") => command.after_help(examples(&help)),
        _ if command.get_name() == "help" => command.about("Says more about a command"),
        _ => command,
    };
    let names: Vec<_> = command.get_subcommands().map(|each| each.get_name().to_owned()).collect();
    names.iter().fold(command, |command, name| command.mut_subcommand(name, for_lines))
}

fn examples(help: &str) -> String {
    let lines = help.lines().filter(|line| !line.contains(" --host ") && !line.contains(" | "));
    lines.map(|line| line.replacen("  minikafka ", "  ", 1)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
