//! Words and columns: what every page is made of.

use super::{ASIDE, escape};
use crate::{address::Address, spec::write::basic};

/// The columns a page is made for.
pub(super) const WIDTH: usize = 100;

/// Where remarks beside a line begin, if the line leaves room.
const BESIDE: usize = 68;

/// The columns a text takes on a terminal, its styles left out.
pub(super) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(|it| it.chars().count()).sum()
}

/// A text filled with spaces up to a width.
pub(super) fn pad(text: &str, to: usize) -> String {
    format!("{text}{:1$}", "", to.saturating_sub(width(text)))
}

/// A line with a dim remark beside it.
pub(super) fn beside(line: &str, remark: &str) -> String {
    if remark.is_empty() {
        return line.to_owned();
    }
    let column = BESIDE.min(WIDTH.saturating_sub(width(remark))).max(width(line) + 2);
    format!("{}{}", pad(line, column), ASIDE.style(remark))
}

/// A key as TOML writes it: in quotes only where it must be.
pub(super) fn key(name: &str) -> String {
    let bare = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { basic(name) }
}

/// An address, made harmless.
pub(super) fn address(address: &Address) -> String {
    escape(&address.to_string()).into_owned()
}

/// Lines as one text that ends with a line break; nothing for no lines.
pub(super) fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|it| [it.trim_end(), "\n"]).collect()
}

/// Rows whose cells stand under one another, the last one free.
pub(super) fn columns(indent: &str, rows: &[Vec<String>]) -> Vec<String> {
    let most = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widest = |at: usize| {
        let cells = rows.iter().filter(|it| at + 1 < it.len()).map(|it| width(&it[at]));
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..most).map(widest).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            if at + 1 < row.len() { pad(cell, width + 2) } else { cell.clone() }
        });
        indent.to_owned() + &cells.collect::<String>()
    };
    rows.iter().map(line).collect()
}
