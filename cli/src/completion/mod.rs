//! `minikafka completion`: what a shell needs to complete command lines, whose flags have one dash or two.

mod one_dash;

use std::{
    io::{Write as _, stdout},
    process::ExitCode,
};

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};

const EXAMPLES: &str = "\
Examples:
  minikafka completion bash > ~/.local/share/bash-completion/completions/minikafka
  minikafka completion zsh produce > ~/.zfunc/_produce
  minikafka completion fish consume > ~/.config/fish/completions/consume.fish";

/// The command line of `minikafka completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
    /// Whose command line to complete
    #[arg(value_enum, default_value_t = Program::Minikafka)]
    program: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    Minikafka,
    Produce,
    Consume,
}

/// Prints the script; `M` is the command line of `minikafka` itself.
///
/// # Errors
/// When it cannot be printed.
pub fn run<M: CommandFactory>(args: &Args) -> anyhow::Result<ExitCode> {
    let (mut command, name) = match args.program {
        Program::Minikafka => (M::command(), "minikafka"),
        Program::Produce => (crate::produce::Args::command(), "produce"),
        Program::Consume => (crate::consume::Args::command(), "consume"),
    };
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    let script = String::from_utf8(script)?;
    stdout().write_all(one_dash::with_one_dash(args.shell, name, &script).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
