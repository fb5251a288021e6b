//! `minikafka storage verify`.

use std::{
    io::{self, Write as _, stdout},
    process::ExitCode,
};

use anyhow::Context as _;
use minikafka_storage::filesystem::inspect::{Event, Finding, Inspection, Totals};

use super::{
    Target,
    print::{FindingLine, JsonFinding, JsonReport, Summary},
};
use crate::{output::Output, produce::bar};

/// The command line of `minikafka storage verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Target { dir, output } = &args.target;
    let inspection = Inspection::open(dir)?;
    let bar = bar(Some(0));
    let mut findings = Vec::new();
    let mut printed = Ok(());
    let totals = inspection.verify(|event| match event {
        Event::Progress { done, total } => {
            bar.set_length(total);
            bar.set_position(done);
        }
        Event::Found(finding) => match output {
            Output::Text if printed.is_ok() => printed = bar.suspend(|| print(&finding, args)),
            Output::Text => {}
            Output::Json => findings.push(finding),
        },
    });
    bar.finish_and_clear();
    let totals: Totals = totals.with_context(|| format!("cannot verify {}", dir.display()))?;
    printed?;
    match output {
        Output::Text => writeln!(stdout(), "{}", Summary(&totals))?,
        Output::Json => {
            let findings = findings.iter().map(|finding| JsonFinding::new(finding, dir)).collect();
            let mut stdout = stdout().lock();
            serde_json::to_writer(&mut stdout, &JsonReport::new(&totals, findings))?;
            stdout.write_all(b"\n")?;
        }
    }
    Ok(if totals.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(finding: &Finding, args: &Args) -> io::Result<()> {
    writeln!(stdout(), "{}", FindingLine(finding, &args.target.dir))
}
