//! Gate: no command that needs guests goes on before the host has what it takes.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Context;
use vm::setup::{self, Options, Report, Undo};

use crate::cli::HostArgs;
use crate::env;
use crate::report::progress::Progress;

/// Lets a command pass if nothing is missing, or once what is missing was installed.
///
/// # Errors
/// Something is missing and may not, or cannot, be installed; the text says how to do it.
pub(super) fn pass(host: &HostArgs) -> anyhow::Result<()> {
    let options = options(host)?;
    let report = setup::check(&options).context("look at this machine")?;
    if report.is_complete() {
        return Ok(());
    }
    if report.advice().is_none() && (host.yes || env::is_ci() || asked(&report)?) {
        println!("installing:");
        print_lines(report.commands());
        let mut progress = Progress::new(false);
        let installed = setup::install(&report, &mut |line| progress.step(line));
        progress.close();
        installed.context("install")?;
        let after = setup::check(&options).context("look at this machine again")?;
        return if after.is_complete() { Ok(()) } else { Err(refusal(&after)) };
    }
    Err(refusal(&report))
}

/// What set-up looks for and where it writes down what it added.
pub(super) fn options(host: &HostArgs) -> anyhow::Result<Options> {
    let mirror = host.debian_mirror.clone();
    Ok(Options { qemu: host.qemu.clone(), mirror, state: env::state_dir()? })
}

/// Asks on a terminal; elsewhere the answer is no.
fn asked(report: &Report) -> anyhow::Result<bool> {
    if !can_ask() {
        return Ok(false);
    }
    println!("This machine lacks:");
    print_lines(&report.missing);
    println!("These commands would install it:");
    print_lines(report.commands());
    confirmed()
}

fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Whether a user on a terminal says yes.
fn confirmed() -> anyhow::Result<bool> {
    if !can_ask() {
        return Ok(false);
    }
    print!("Run them now? [y/N] ");
    std::io::stdout().flush().context("ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn print_lines(lines: &[String]) {
    for line in lines {
        println!("  {line}");
    }
}

fn refusal(report: &Report) -> anyhow::Error {
    let missing = report.missing.join("\n  ");
    match report.advice() {
        Some(advice) => anyhow::anyhow!("this machine lacks:\n  {missing}\n{advice}"),
        None => anyhow::anyhow!(
            "this machine lacks:\n  {missing}\n\
             run these commands, or the same again with --yes:\n  {}",
            report.commands().join("\n  ")
        ),
    }
}

/// Takes away what set-up has added, or says that there is nothing.
///
/// # Errors
/// It may not, or cannot, be taken away; the text says how to do it.
pub(super) fn undo(host: &HostArgs) -> anyhow::Result<()> {
    let undo = Undo::find(&options(host)?.state).context("read what was added")?;
    let lines = undo.commands().to_vec();
    if lines.is_empty() {
        println!("nothing that set-up has added is left on this machine");
        return Ok(());
    }
    println!("These commands take away what set-up has added:");
    print_lines(&lines);
    if !host.yes && !confirmed()? {
        anyhow::bail!("nothing was taken away: run these commands, or the same again with --yes");
    }
    let mut progress = Progress::new(false);
    let undone = undo.run(&mut |line| progress.step(line));
    progress.close();
    undone.context("undo")?;
    println!("done");
    Ok(())
}
