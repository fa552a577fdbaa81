//! The list of allowed licences, read from `deny.toml`, where cargo-deny reads it too.
//!
//! Only this one list is read, so a TOML parser would be a dependency for ten lines of text. What
//! does not look as expected is an error and never an empty list.

#[derive(Debug, PartialEq, Eq)]
pub(super) struct AllowList(Vec<String>);

impl AllowList {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let is_header = |line: &&str| line.starts_with('[');
        let mut section = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .skip_while(|line| *line != "[licenses]")
            .skip(1)
            .take_while(|line| !is_header(line))
            .skip_while(|line| !line.starts_with("allow "));
        let first = section
            .next()
            .ok_or("deny.toml has no `allow = [` below [licenses]")?;
        let mut value = first
            .trim_start_matches("allow")
            .trim_start_matches([' ', '='])
            .to_owned();
        while !value.ends_with(']') {
            value += section
                .next()
                .ok_or("deny.toml does not close the list of licences")?;
        }

        let inner = value
            .strip_prefix('[')
            .and_then(|value| value.strip_suffix(']'));
        let inner = inner.ok_or("deny.toml gives `allow` something other than a list")?;
        let entries = inner
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let licences = entries.map(unquoted).collect::<Result<Vec<_>, _>>()?;
        if licences.is_empty() {
            return Err("deny.toml allows no licence at all".to_owned());
        }
        Ok(Self(licences))
    }

    pub(super) fn contains(&self, licence: &str) -> bool {
        self.0.iter().any(|allowed| allowed == licence)
    }
}

fn unquoted(entry: &str) -> Result<String, String> {
    entry
        .strip_prefix('"')
        .and_then(|entry| entry.strip_suffix('"'))
        .filter(|licence| !licence.contains('"'))
        .map(String::from)
        .ok_or_else(|| format!("deny.toml lists {entry}, which is not one quoted licence"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>, String> {
        AllowList::parse(text).map(|list| list.0)
    }

    #[test]
    fn a_list_over_several_lines_with_comments_is_read() {
        let text = "[bans]\nallow = [\"no\"]\n[licenses] # what we link\n# why\nallow = [\n  \
                    \"MIT\", # short\n  \"Apache-2.0 WITH LLVM-exception\",\n]\nx = 1\n";
        assert_eq!(
            parsed(text).unwrap(),
            ["MIT", "Apache-2.0 WITH LLVM-exception"]
        );
    }

    #[test]
    fn a_list_on_one_line_is_read() {
        assert_eq!(
            parsed("[licenses]\nallow = [\"MIT\", \"ISC\"]").unwrap(),
            ["MIT", "ISC"]
        );
    }

    #[test]
    fn a_list_that_is_not_there_or_not_readable_is_an_error() {
        for text in [
            "",
            "[licenses]\n",
            "[licenses]\n[sources]\nallow = [\"MIT\"]",
            "[licenses]\nallow = []",
            "[licenses]\nallow = [\n\"MIT\",\n",
            "[licenses]\nallow = [MIT]",
            "[licenses]\nallow = [\"MIT\" \"ISC\"]",
        ] {
            assert!(parsed(text).is_err(), "{text:?}");
        }
    }
}
