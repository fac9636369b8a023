//! Lengths: functions of at most 70 lines, files of at most 400, lines of at most 100 columns.

use crate::expect_none;
use crate::tree::{File, Kind, files};

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 400;
const COLUMNS: usize = 100;

/// One function: where it begins and how many lines it has.
#[derive(Debug, PartialEq)]
struct Function {
    first_line: usize,
    lines: usize,
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut found = Vec::new();
    for file in files() {
        for function in functions(&file) {
            if function.lines > FUNCTION_LINES {
                found.push(format!("{}:{function:?}", file.path));
            }
        }
    }
    expect_none("split these functions", &found);
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let found: Vec<_> = files()
        .iter()
        .filter(|file| is_written_by_hand(file) && file.text.lines().count() > FILE_LINES)
        .map(|file| format!("{}: {} lines", file.path, file.text.lines().count()))
        .collect();
    expect_none("split these files", &found);
}

#[test]
fn no_line_is_longer_than_100_columns() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| is_written_by_hand(file)) {
        for (number, line) in file.text.lines().enumerate() {
            // A row of a Markdown table cannot be broken.
            let is_row = file.kind() == Kind::Markdown && line.starts_with('|');
            if columns(file, line) > COLUMNS && !is_row {
                found.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    expect_none("break these lines", &found);
}

#[test]
fn every_file_is_ascii() {
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if !line.is_ascii() {
                found.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    expect_none("write these lines in ASCII", &found);
}

/// Lock files are written by programs.
fn is_written_by_hand(file: &File) -> bool {
    !matches!(file.kind(), Kind::Lock | Kind::Data)
}

/// A tab of kernel C counts as eight columns.
fn columns(file: &File, line: &str) -> usize {
    let tab = if file.kind() == Kind::C { 8 } else { 1 };
    line.chars().map(|c| if c == '\t' { tab } else { 1 }).sum()
}

fn functions(file: &File) -> Vec<Function> {
    let lines: Vec<&str> = file.text.lines().collect();
    match file.kind() {
        Kind::Rust => rust_functions(&lines),
        Kind::C => c_functions(&lines),
        _ => Vec::new(),
    }
}

/// A formatted function ends at the first closing brace of its own indentation.
fn rust_functions(lines: &[&str]) -> Vec<Function> {
    let starts = lines.iter().enumerate().filter(|(_, line)| is_rust_function(line));
    let length = |start: usize| {
        let indent = lines[start].len() - lines[start].trim_start().len();
        let close = format!("{}}}", &lines[start][..indent]);
        lines[start..].iter().position(|line| *line == close).map(|end| end + 1)
    };
    let function = |(start, line): (usize, &&str)| {
        let one_line = line.ends_with('}') || line.ends_with(';');
        let lines = if one_line { Some(1) } else { length(start) };
        lines.map(|lines| Function { first_line: start + 1, lines })
    };
    starts.filter_map(function).collect()
}

fn is_rust_function(line: &str) -> bool {
    let before_name = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    let mut words = line.split_whitespace().filter(|word| !word.starts_with('"'));
    words.find(|word| !before_name.contains(word)) == Some("fn")
}

/// A C function has its braces alone in the first column; its head begins after an empty line.
fn c_functions(lines: &[&str]) -> Vec<Function> {
    let mut found = Vec::new();
    for (open, _) in lines.iter().enumerate().filter(|(_, line)| **line == "{") {
        let head = lines[..open].iter().copied().rev().take_while(|line| is_head(line)).count();
        if let Some(body) = lines[open..].iter().position(|line| *line == "}") {
            found.push(Function { first_line: open - head + 1, lines: head + body + 1 });
        }
    }
    found
}

fn is_head(line: &str) -> bool {
    !line.is_empty() && !line.ends_with("*/") && !line.ends_with('}') && !line.starts_with('#')
}

#[test]
fn functions_are_measured_from_head_to_brace() {
    let rust = ["fn short() {}", "", "    pub(crate) fn a(", "    ) {", "        b();", "    }"];
    let measured = rust_functions(&rust);
    assert_eq!(measured[0], Function { first_line: 1, lines: 1 });
    assert_eq!(measured[1], Function { first_line: 3, lines: 4 });
    let c = ["/* why */", "static int a(int b,", "\t\t int c)", "{", "\treturn b;", "}"];
    assert_eq!(c_functions(&c), [Function { first_line: 2, lines: 5 }]);
}
