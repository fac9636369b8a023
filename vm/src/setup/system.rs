//! System: which distribution this machine runs, by its os-release file.

/// What matters of `/etc/os-release`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct System {
    /// The name for people.
    pub(crate) name: String,
    /// Debian's code name for this release; `None` on everything that is not Debian itself.
    pub(crate) debian: Option<String>,
}

impl System {
    /// Parses an os-release file: shell assignments, one a line.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
        };
        let debian = value("ID").is_some_and(|id| id == "debian");
        // Testing and unstable have no version, but a code name.
        let codename = value("VERSION_CODENAME").or_else(|| value("DEBIAN_CODENAME"));
        Self {
            name: value("PRETTY_NAME").unwrap_or_else(|| "an unknown system".to_owned()),
            debian: codename.filter(|_| debian),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_known_by_its_id() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n\
            VERSION_CODENAME=bookworm\n";
        let system = System::parse(text);
        assert_eq!(system.debian.as_deref(), Some("bookworm"));
        assert_eq!(system.name, "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn relatives_of_debian_are_not_debian() {
        let text = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nPRETTY_NAME='U 24'\n";
        assert_eq!(System::parse(text), System { name: "U 24".into(), debian: None });
        assert_eq!(System::parse("").name, "an unknown system");
    }
}
