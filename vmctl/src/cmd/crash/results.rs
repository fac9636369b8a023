//! Results: shows one, and makes one of several.

use std::path::Path;

use anyhow::Context;
use vm::recording::Recording;

use super::lab::Lab;
use crate::cli::crash::judge::{FilesArgs, MergeArgs, MovedArgs, ReportArgs};
use crate::exit::{Exit, Usage};
use crate::report;
use crate::report::crash::html::Pictures;
use crate::report::crash::result::CrashResult;
use crate::report::crash::{html, text};

/// Shows a result again.
pub(super) fn report(args: &ReportArgs) -> anyhow::Result<Exit> {
    report::check_writable(args.html.iter())?;
    let result = read(&args.result, &args.moved)?;
    show(&result, &FilesArgs { json: None, html: args.html.clone() }, None)
}

/// Makes one result of several.
pub(super) fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    report::check_writable(args.files.json.iter().chain(&args.files.html))?;
    let parts = args.parts.iter().map(|path| CrashResult::read(path));
    let result = CrashResult::merged(parts.collect::<anyhow::Result<_>>()?)?;
    let result = moved(result, &args.moved)?;
    show(&result, &args.files, None)
}

/// Reads a result, whose recording may be elsewhere now.
pub(super) fn read(path: &Path, args: &MovedArgs) -> anyhow::Result<CrashResult> {
    moved(CrashResult::read(path)?, args)
}

fn moved(mut result: CrashResult, args: &MovedArgs) -> anyhow::Result<CrashResult> {
    if let Some(folder) = &args.recording {
        result.recording = std::path::absolute(folder).context("find the working folder")?;
    }
    Ok(result)
}

/// Refuses a name that JSON cannot hold before anything is explored.
pub(super) fn check_named(recording: &Path, files: &FilesArgs) -> anyhow::Result<()> {
    let folder = std::path::absolute(recording).context("find the working folder")?;
    if files.json.is_some() && folder.to_str().is_none() {
        let why = "its name is no text, which JSON cannot hold: rename it, or leave --json out";
        return Err(Usage(format!("{}: {why}", folder.display())).into());
    }
    Ok(())
}

/// Prints a result and writes its files. The terminal comes first: a full disk takes no result.
pub(super) fn show(
    result: &CrashResult,
    files: &FilesArgs,
    lab: Option<&Lab>,
) -> anyhow::Result<Exit> {
    print!("{}", text::text(result));
    if let Some(path) = &files.json {
        report::write(path, &result.json()?)?;
    }
    if let Some(path) = &files.html {
        report::write(path, &page(result, lab))?;
    }
    Ok(result.exit())
}

fn page(result: &CrashResult, lab: Option<&Lab>) -> String {
    if let Some(Lab { recording, symbols, .. }) = lab {
        return html::text(result, Some(&Pictures { recording, symbols }));
    }
    let Some(recording) = recorded(result) else { return html::text(result, None) };
    let (symbols, _) = recording.symbols(&result.judge.elf);
    html::text(result, Some(&Pictures { recording: &recording, symbols: &symbols }))
}

/// The recording of a result, if it is still there.
fn recorded(result: &CrashResult) -> Option<Recording> {
    let folder: &Path = &result.recording;
    let read = Recording::open(folder).map_err(|error| error.to_string());
    let read = read.and_then(|read| {
        let is_same = read.trace_hash == result.part.trace;
        is_same.then_some(read).ok_or_else(|| format!("{} is another one", folder.display()))
    });
    let told = |why| {
        eprintln!("vmctl: no pictures without the recording: {why}; where is it? --recording DIR");
    };
    read.map_err(told).ok()
}
