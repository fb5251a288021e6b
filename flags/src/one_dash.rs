//! Long flags with one dash, as Go's `flag` package reads them.

use std::{collections::HashMap, ffi::OsString, os::unix::ffi::OsStringExt};

use clap::{Arg, ArgAction, Command};

/// Rewrites `-name` and `-name=value` to `--name` and `--name=value` for every long flag, alias included, of a
/// command and its subcommands. The first of `args` is the program's name.
///
/// A `_` in the name of such a flag may stand for each `-` of it, as people write who know the variables:
/// `-root_dir` becomes `--root-dir`.
///
/// So is a word that is neither a long flag nor a bunch of short ones, as `-hosts`: clap then says that there is
/// no such flag, where it would have taken the `h` for a call for help. All else passes unchanged: short flags,
/// negative numbers, whatever follows `--`, names that are not UTF-8, and the value of a flag that says it takes
/// values with a leading dash ([`Arg::allow_hyphen_values`]).
///
/// ```
/// use clap::{Arg, Command};
///
/// let command = Command::new("produce").arg(Arg::new("host").long("host"));
/// let args = ["produce", "-host", "localhost:9999"].map(Into::into);
/// let args = minikafka_flags::go_style(args, &command);
/// assert_eq!(args, ["produce", "--host", "localhost:9999"]);
/// ```
pub fn go_style(args: impl IntoIterator<Item = OsString>, command: &Command) -> Vec<OsString> {
    let flags = Flags::of(command);
    let mut args = args.into_iter();
    let mut rewritten: Vec<OsString> = args.next().into_iter().collect();
    let mut previous = Takes::Nothing;
    for arg in args.by_ref() {
        if previous == Takes::AnyValue {
            previous = Takes::Nothing;
            rewritten.push(arg);
            continue;
        }
        if arg == "--" {
            rewritten.push(arg);
            break;
        }
        let arg = flags.with_its_own_name(arg);
        previous = flags.takes(&arg);
        rewritten.push(if flags.lacks_a_dash(&arg) { two_dashes(&arg) } else { arg });
    }
    rewritten.extend(args);
    rewritten
}

/// What a flag makes of the argument behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// The flag is a switch.
    Nothing,
    /// Its value, unless it looks like a flag.
    Value,
    /// Its value, whatever it looks like.
    AnyValue,
}

/// The names of all flags of a command and its subcommands, without dashes.
#[derive(Debug, Default)]
struct Flags {
    long: HashMap<String, Takes>,
    short: HashMap<char, Takes>,
}

impl Flags {
    fn of(command: &Command) -> Flags {
        // `--help` and `--version` appear when the command is built.
        let mut built = command.clone();
        built.build();
        let mut flags = Flags::default();
        flags.add(&built);
        flags
    }

    fn add(&mut self, command: &Command) {
        for arg in command.get_arguments() {
            let takes = takes(arg);
            let names = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
            self.long.extend(names.map(|name| (name.to_owned(), takes)));
            self.short.extend(arg.get_short_and_visible_aliases().into_iter().flatten().map(|c| (c, takes)));
        }
        command.get_subcommands().for_each(|subcommand| self.add(subcommand));
    }

    /// The same flag with `-` for each `_` in its name, if that is what makes it one that is known.
    fn with_its_own_name(&self, arg: OsString) -> OsString {
        let Some((dashes, name)) =
            ["--", "-"].iter().find_map(|dashes| Some((dashes, name_of(&arg, dashes)?)))
        else {
            return arg;
        };
        let own = name.replace('_', "-");
        if self.long.contains_key(name) || !self.long.contains_key(&own) {
            return arg;
        }
        let bytes = [dashes.as_bytes(), own.as_bytes(), &arg.as_encoded_bytes()[dashes.len() + name.len()..]];
        OsString::from_vec(bytes.concat())
    }

    /// Whether it is a long flag with one dash, or a try at one.
    fn lacks_a_dash(&self, arg: &OsString) -> bool {
        let Some(name) = name_of(arg, "-") else { return false };
        if name.chars().nth(1).is_none() {
            // One letter: a long flag only if it is no short one.
            return self.long.contains_key(name) && !self.is_short(name);
        }
        let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic());
        self.long.contains_key(name) || is_word && !self.is_short(name)
    }

    /// Whether it is a short flag, or a bunch of them, perhaps with the value of the last.
    fn is_short(&self, name: &str) -> bool {
        for letter in name.chars() {
            match self.short.get(&letter) {
                None => return false,
                Some(Takes::Nothing) => {}
                Some(Takes::Value | Takes::AnyValue) => return true,
            }
        }
        true
    }

    fn takes(&self, arg: &OsString) -> Takes {
        if arg.as_encoded_bytes().contains(&b'=') {
            return Takes::Nothing;
        }
        let long = name_of(arg, "--").or_else(|| name_of(arg, "-")).and_then(|name| self.long.get(name));
        let short = || {
            let name = name_of(arg, "-")?;
            // Behind the first letter that takes a value, the rest is that value.
            let last = name.chars().position(|letter| self.short.get(&letter) != Some(&Takes::Nothing))?;
            let letter = name.chars().nth(last)?;
            self.short.get(&letter).filter(|_| name.chars().nth(last + 1).is_none())
        };
        long.or_else(short).copied().unwrap_or(Takes::Nothing)
    }
}

fn takes(arg: &Arg) -> Takes {
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append if arg.is_allow_hyphen_values_set() => Takes::AnyValue,
        ArgAction::Set | ArgAction::Append => Takes::Value,
        _ => Takes::Nothing,
    }
}

/// The name in `<dashes>name` or `<dashes>name=value`, if it is UTF-8. The value need not be.
fn name_of<'a>(arg: &'a OsString, dashes: &str) -> Option<&'a str> {
    let name = arg.as_encoded_bytes().strip_prefix(dashes.as_bytes())?;
    let name = name.split(|byte| *byte == b'=').next()?;
    std::str::from_utf8(name).ok().filter(|name| !name.starts_with('-'))
}

fn two_dashes(arg: &OsString) -> OsString {
    let mut two = OsString::from("-");
    two.push(arg);
    two
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("x")
            .version("1")
            .arg(Arg::new("host").long("host").short('H'))
            .arg(Arg::new("retention").long("retentiontime").visible_alias("retention-time"))
            .arg(Arg::new("message").long("message").short('m').allow_hyphen_values(true))
            .arg(Arg::new("quiet").long("quiet").short('q').action(ArgAction::SetTrue))
            .arg(Arg::new("v").long("v").short('v').action(ArgAction::Count))
            .arg(Arg::new("n").long("n"))
            .arg(Arg::new("rest").num_args(0..))
            .subcommand(
                Command::new("topic").subcommand(Command::new("list").arg(Arg::new("output").long("output"))),
            )
    }

    fn rewrite(line: &str) -> String {
        let args = line.split(' ').map(OsString::from);
        let args = go_style(args, &command());
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rewrites_long_names_and_only_them() {
        for (given, wanted) in [
            ("x -host a:1", "x --host a:1"),
            ("x --host a:1", "x --host a:1"),
            ("x -host=a:1 -quiet", "x --host=a:1 --quiet"),
            ("x -host=", "x --host="),
            ("x -host=a=b", "x --host=a=b"),
            ("x -retentiontime 3s", "x --retentiontime 3s"),
            ("x -retention-time=3s", "x --retention-time=3s"),
            ("x -retention_time=3_s", "x --retention-time=3_s"),
            ("x --retention_time 3_s -no_flag", "x --retention-time 3_s --no_flag"),
            ("x -help", "x --help"),
            ("x -version", "x --version"),
            ("x help -help", "x help --help"),
            // short flags, alone and in a bunch
            ("x -H a -q -vv -qv", "x -H a -q -vv -qv"),
            ("x -v", "x -v"),
            ("x -n 5", "x --n 5"),
            ("x -qHvalue -Hhost", "x -qHvalue -Hhost"),
            // unknown words are left to clap, but not as short flags
            ("x -hosts a", "x --hosts a"),
            ("x -qx", "x --qx"),
            ("x -x", "x -x"),
            ("x -5 -55 - -= ---host", "x -5 -55 - -= ---host"),
            // nothing behind the end of flags
            ("x -quiet -- -host -quiet", "x --quiet -- -host -quiet"),
            // subcommands
            ("x topic list -output json -host a", "x topic list --output json --host a"),
            // a flag that takes such values keeps them
            ("x -message -host -host a", "x --message -host --host a"),
            ("x --message -host -quiet", "x --message -host --quiet"),
            ("x -m -host -quiet", "x -m -host --quiet"),
            ("x -qm -host -quiet", "x -qm -host --quiet"),
            ("x -mvalue -host a", "x -mvalue --host a"),
            ("x -message -- -host a", "x --message -- --host a"),
            ("x -message=a -host b", "x --message=a --host b"),
            // the program's name is no flag
            ("-host -host", "-host --host"),
        ] {
            assert_eq!(rewrite(given), wanted, "{given}");
        }
    }

    #[test]
    fn a_forgotten_value_is_clap_s_to_report() {
        let error = command()
            .try_get_matches_from(go_style(["x", "-host", "-quiet"].map(OsString::from), &command()))
            .expect_err("a value is missing");
        assert!(error.to_string().contains("--host"), "{error}");
    }

    #[test]
    fn a_mistyped_flag_is_no_call_for_help() {
        let error = command()
            .try_get_matches_from(go_style(["x", "-hots", "a"].map(OsString::from), &command()))
            .expect_err("there is no such flag");
        assert_eq!(error.kind(), clap::error::ErrorKind::UnknownArgument, "{error}");
    }

    #[test]
    fn text_that_is_not_utf_8_survives() {
        let odd = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let args = [odd(b"x"), odd(b"-host=\xff"), odd(b"-\xff"), odd(b"\xfe")];
        assert_eq!(go_style(args, &command()), [odd(b"x"), odd(b"--host=\xff"), odd(b"-\xff"), odd(b"\xfe")]);
    }

    #[test]
    fn no_arguments_are_fine() {
        assert!(go_style([], &command()).is_empty());
    }
}
