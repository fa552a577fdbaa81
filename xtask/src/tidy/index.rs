//! Rules that compare files with each other: what exists must be described where readers look.

/// The crates that the description of the architecture forgot.
pub(super) fn crates_not_described(
    architecture: Result<String, String>,
    crates: &[&str],
) -> Vec<String> {
    match architecture {
        Err(error) => vec![error],
        Ok(text) => crates
            .iter()
            .filter(|name| !mentions(&text, name))
            .map(|name| format!("ARCHITECTURE.md: does not mention {name}"))
            .collect(),
    }
}

/// True if `name` stands in the text for itself and not within a longer name.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

/// The files of a folder that its README does not link. A folder without files needs no README.
pub(super) fn files_not_linked(
    folder: &str,
    readme: Result<String, String>,
    paths: &[String],
) -> Vec<String> {
    let prefix = format!("{folder}/");
    let names: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.strip_prefix(&prefix))
        .filter(|name| *name != "README.md")
        .collect();
    match readme {
        Err(error) if !names.is_empty() => vec![error],
        Err(_) => Vec::new(),
        Ok(text) => names
            .iter()
            .filter(|name| !links(&text, name))
            .map(|name| format!("{folder}/README.md: does not link {name}"))
            .collect(),
    }
}

/// True if a Markdown link of the text leads to the file, or to a place within it.
fn links(text: &str, name: &str) -> bool {
    text.split("](").skip(1).any(|target| {
        let target = target.strip_prefix("./").unwrap_or(target);
        target
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([')', '#']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_crate_that_the_architecture_does_not_mention_is_found() {
        let text = "`cim-store-embedded` keeps one directory. `xtask` checks.";
        let crates = ["cim-store", "cim-store-embedded", "xtask"];
        assert_eq!(
            crates_not_described(Ok(text.into()), &crates),
            ["ARCHITECTURE.md: does not mention cim-store"]
        );
        let text = format!("{text} `cim-store`: the ports.");
        assert_eq!(crates_not_described(Ok(text), &crates), NOTHING);
    }

    #[test]
    fn a_missing_description_of_the_architecture_is_found() {
        assert_eq!(
            crates_not_described(Err("not there".into()), &["xtask"]),
            ["not there"]
        );
    }

    #[test]
    fn a_file_that_its_index_does_not_link_is_found() {
        let paths = [
            "docs/decisions/README.md",
            "docs/decisions/0001-a.md",
            "docs/guide.md",
        ]
        .map(String::from);
        let found = |text: &str| files_not_linked("docs/decisions", Ok(text.into()), &paths);
        assert_eq!(
            found("0001-a.md"),
            ["docs/decisions/README.md: does not link 0001-a.md"]
        );
        assert_eq!(found("[one](0001-a.mdx)").len(), 1);
        for text in [
            "[one](0001-a.md)",
            "[one](./0001-a.md), two",
            "[one](0001-a.md#why)",
        ] {
            assert_eq!(found(text), NOTHING, "{text}");
        }
    }

    #[test]
    fn a_folder_with_files_needs_an_index_and_an_empty_one_does_not() {
        let paths = ["docs/format/segment.md".to_owned()];
        let missing = || Err("docs/format/README.md cannot be read".to_owned());
        assert_eq!(files_not_linked("docs/format", missing(), &paths).len(), 1);
        assert_eq!(
            files_not_linked("docs/decisions", missing(), &paths),
            NOTHING
        );
    }
}
