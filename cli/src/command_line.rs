//! Reading the command line: flags with one dash or two, as the users of the original MiniKafka write them.

use clap::Parser;

/// Reads the program's arguments. `--help` and `--version` are answered, and nonsense is refused with exit code 2,
/// without returning.
pub fn read<A: Parser>() -> A {
    A::parse_from(minikafka_flags::go_style(std::env::args_os(), &A::command()))
}
