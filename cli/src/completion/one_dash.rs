//! [`with_one_dash`], scripts that complete `-flag` as well as `--flag`.
//!
//! The generator knows long flags with two dashes only, so its scripts are told more:
//!
//! | shell | how |
//! |---|---|
//! | bash | a function around the generated one lends flags a dash, and takes it back from what is found |
//! | zsh | each option is described with one dash, too, and single letters are not bunched |
//! | fish | each option is an old-style one, too (`-o`) |
//! | elvish, PowerShell | each option is offered with one dash, too |

use std::fmt::Write as _;

use clap_complete::Shell;

/// A script of the generator, for the program `name`, that knows flags with one dash as well.
pub(super) fn with_one_dash(shell: Shell, name: &str, script: &str) -> String {
    match shell {
        Shell::Bash => bash(name, script),
        Shell::Zsh => zsh(script),
        Shell::Fish => by_line(script, fish),
        Shell::Elvish => by_line(script, |line| twice(line, "cand --", "cand -")),
        Shell::PowerShell => by_line(script, |line| {
            let line = twice(line, "[CompletionResult]::new('--", "[CompletionResult]::new('-")?;
            // What is shown, in the second of the two lines.
            let (two_dashes, one_dash) = line.split_once('\n')?;
            Some(format!("{two_dashes}\n{}", one_dash.replacen(", '--", ", '-", 1)))
        }),
        _ => script.to_owned(),
    }
}

fn bash(name: &str, script: &str) -> String {
    let script = script.replacen(&format!("_{name}() {{"), &format!("_{name}_with_two_dashes() {{"), 1);
    // Old versions of bash take the word from COMP_WORDS; it is made anew for each completion. What is completed from
    // a lone dash is all flags, the short ones included.
    format!(
        r#"_{name}() {{
    local cur="$2" prev="$3" flag i
    [[ $prev == -[a-zA-Z]?* ]] && prev="-$prev"
    flag="$cur"
    [[ $cur == -[!-]* ]] && flag="-$cur"
    COMP_WORDS[COMP_CWORD]="$flag"
    _{name}_with_two_dashes "$1" "$flag" "$prev"
    if [[ $cur == - || $cur == -[!-]* ]]; then
        for i in "${{!COMPREPLY[@]}}"; do
            [[ ${{COMPREPLY[i]}} == --* ]] && COMPREPLY[i]="${{COMPREPLY[i]:1}}"
        done
    fi
    return 0
}}

{script}"#
    )
}

/// Descriptions may take several lines: the last one ends with a quote and a backslash.
fn zsh(script: &str) -> String {
    const END: &str = "' \\";
    // Bunches of single letters would take words for such.
    let script = script.replace("(-s -S -C)", "(-S -C)").replace("(-s -C)", "(-C)");
    let mut out = String::with_capacity(2 * script.len());
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        let mut spec = line.to_owned();
        if line.starts_with('\'') {
            while !spec.ends_with(END) {
                let Some(more) = lines.next() else { break };
                spec += &format!("\n{more}");
            }
        }
        match Spec::parse(&spec) {
            Some(of) => _ = writeln!(out, "{}\n{}", of.written("--", "-"), of.written("-", "--")),
            None => _ = writeln!(out, "{spec}"),
        }
    }
    out
}

/// `'(--not --with)*--name=[what it says]:more' \`
struct Spec<'s> {
    conflicts: Vec<&'s str>,
    repeats: &'static str,
    name: &'s str,
    rest: String,
}

impl<'s> Spec<'s> {
    /// `None` when that is no long flag.
    fn parse(text: &'s str) -> Option<Spec<'s>> {
        let text = text.strip_prefix('\'')?;
        let (conflicts, text) = match text.strip_prefix('(') {
            Some(text) => text.split_once(')')?,
            None => ("", text),
        };
        let (repeats, text) = match text.strip_prefix('*') {
            Some(text) => ("*", text),
            None => ("", text),
        };
        let text = text.strip_prefix("--")?;
        let end = text.find(['=', '['])?;
        let (name, rest) = text.split_at(end);
        let rest = with_colons_escaped(rest);
        Some(Spec { conflicts: conflicts.split_whitespace().collect(), repeats, name, rest })
    }

    /// A flag that may be given once is not offered in its other form either.
    fn written(&self, dashes: &str, other: &str) -> String {
        let Spec { conflicts, repeats, name, rest } = self;
        let mut excluded = Vec::new();
        for conflict in conflicts {
            excluded.push((*conflict).to_owned());
            excluded.extend(conflict.strip_prefix("--").map(|name| format!("-{name}")));
        }
        if repeats.is_empty() {
            excluded.push(format!("{other}{name}"));
        }
        let excluded = if excluded.is_empty() { String::new() } else { format!("({})", excluded.join(" ")) };
        format!("'{excluded}{repeats}{dashes}{name}{rest}")
    }
}

/// `=[what it says]:HOST:PORT:_default`: what stands for the value has colons that the generator does not escape, so that
/// zsh takes its end for what is to be done.
fn with_colons_escaped(rest: &str) -> String {
    let action = |value: &str| value.find(":_").or_else(|| value.find(":("));
    match rest.split_once("]:").and_then(|(says, value)| Some((says, value.split_at(action(value)?)))) {
        Some((says, (value, action))) => format!("{says}]:{}{action}", value.replace(':', "\\:")),
        None => rest.to_owned(),
    }
}

fn fish(line: &str) -> Option<String> {
    let (flags, rest) = line.strip_prefix("complete ")?.split_once(" -d '")?;
    let (before, name) = flags.split_once(" -l ")?;
    Some(format!("complete {before} -l {name} -o {name} -d '{rest}"))
}

/// The line, and the line with `to` for `from` after it.
fn twice(line: &str, from: &str, to: &str) -> Option<String> {
    line.trim_start().starts_with(from).then(|| format!("{line}\n{}", line.replacen(from, to, 1)))
}

fn by_line(script: &str, change: impl Fn(&str) -> Option<String>) -> String {
    script.lines().map(|line| change(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}
