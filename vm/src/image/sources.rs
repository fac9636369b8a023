//! Sources: where this machine gets its own Debian packages, read from its apt configuration.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// One entry of `sources.list` or of a `.sources` file, binary packages only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Base addresses.
    pub uris: Vec<String>,
    /// Suites, for example `bookworm` and `bookworm-updates`.
    pub suites: Vec<String>,
    /// Components, for example `main`.
    pub components: Vec<String>,
    /// Options under their deb822 names (`Signed-By`, `Trusted` ...); values may have many lines.
    pub options: Vec<(String, String)>,
}

/// Options that decide whether a source is trusted; they are kept when it is used elsewhere.
const KEPT: [&str; 4] = ["Signed-By", "Trusted", "Check-Valid-Until", "Check-Date"];

/// All sources of a machine. `etc_apt` is `/etc/apt`; files that cannot be read count as empty.
pub fn read(etc_apt: &Path) -> Vec<Source> {
    let mut files = vec![etc_apt.join("sources.list")];
    let parts = fs::read_dir(etc_apt.join("sources.list.d"));
    let mut parts: Vec<_> = parts.into_iter().flatten().flatten().map(|e| e.path()).collect();
    parts.sort();
    files.append(&mut parts);
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let parse = |path: &Path| match path.extension().and_then(|e| e.to_str()) {
        Some("list") => parse_list(&text(path)),
        Some("sources") => parse_deb822(&text(path)),
        // apt ignores other names, too.
        _ => Vec::new(),
    };
    files.iter().flat_map(|path| parse(path)).collect()
}

/// Parses the one-line format: `deb [option=value ...] uri suite component...`.
pub fn parse_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(list_line).collect()
}

fn list_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let mut options = Vec::new();
    if let Some(inside) = rest.strip_prefix('[') {
        let (inside, after) = inside.split_once(']')?;
        rest = after;
        for option in inside.split_whitespace() {
            let (key, value) = option.split_once('=')?;
            let kept = KEPT.iter().find(|name| name.eq_ignore_ascii_case(key));
            options.extend(kept.map(|name| ((*name).to_owned(), value.to_owned())));
        }
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), options })
}

/// Parses the deb822 format: paragraphs of `Field: value` with continuation lines.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let uncommented: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    uncommented.split(|line| line.trim().is_empty()).filter_map(paragraph).collect()
}

fn paragraph(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            write!(value, "\n{line}").ok()?;
        } else {
            let (key, value) = line.split_once(':')?;
            fields.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let field = |name: &str| {
        let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    };
    let words = |name: &str| field(name).split_whitespace().map(str::to_owned).collect();
    let binary = field("Types").split_whitespace().any(|word| word == "deb");
    let enabled = !["no", "false", "0", "off"].contains(&field("Enabled"));
    let kept = KEPT.iter().filter(|name| !field(name).is_empty());
    let options = kept.map(|name| ((*name).to_owned(), field(name).to_owned())).collect();
    let source = Source {
        uris: words("URIs"),
        suites: words("Suites"),
        components: words("Components"),
        options,
    };
    (binary && enabled && !source.uris.is_empty()).then_some(source)
}

/// The part of `sources` that is Debian's own suite `codename` (with updates and security).
///
/// Other vendors use the same suite names; what tells them apart is the component and the key.
pub fn of_debian(sources: &[Source], codename: &str) -> Vec<Source> {
    let suites = [
        codename.to_owned(),
        format!("{codename}-updates"),
        format!("{codename}-security"),
        format!("{codename}/updates"),
    ];
    let ours = sources.iter().filter(|source| source.is_debian()).map(|source| {
        let mut source = source.clone();
        source.suites.retain(|suite| suites.contains(suite));
        source.components = vec!["main".to_owned()];
        source
    });
    ours.filter(|source| !source.suites.is_empty()).collect()
}

/// The same sources with the suites of another release.
pub fn renamed(mut sources: Vec<Source>, from: &str, to: &str) -> Vec<Source> {
    for suite in sources.iter_mut().flat_map(|source| &mut source.suites) {
        *suite = suite.replacen(from, to, 1);
    }
    sources
}

/// The sources that stand for one mirror given by hand.
pub fn of_mirror(mirror: &str, codename: &str, keyring: &str, security: bool) -> Vec<Source> {
    let mirror = mirror.trim_end_matches('/');
    let source = |uri: String, suites: Vec<String>| Source {
        uris: vec![uri],
        suites,
        components: vec!["main".to_owned()],
        options: vec![("Signed-By".to_owned(), keyring.to_owned())],
    };
    let main = source(mirror.to_owned(), vec![codename.to_owned(), format!("{codename}-updates")]);
    let beside = source(format!("{mirror}-security"), vec![format!("{codename}-security")]);
    if security { vec![main, beside] } else { vec![main] }
}

/// The text of a `.sources` file.
pub fn deb822(sources: &[Source]) -> String {
    sources.iter().map(Source::deb822).collect::<Vec<_>>().join("\n")
}

impl Source {
    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is_debian(&self) -> bool {
        let key = self.option("Signed-By");
        let debian_key =
            key.is_none_or(|key| key.contains("debian-archive") || key.contains("BEGIN"));
        let cdrom = self.uris.iter().all(|uri| uri.starts_with("cdrom:"));
        debian_key && !cdrom && self.components.iter().any(|component| component == "main")
    }

    fn deb822(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" ")
        );
        for (key, value) in &self.options {
            writeln!(text, "{key}: {value}").expect("a String takes everything");
        }
        text
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
