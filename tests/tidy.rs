//! What the compiler does not check about the source: who imports whom, who may change the state, how long a file may
//! get, and that what the documents point at is there.
//!
//! These rules are in `docs/architecture.md`. If one is in your way, change it there and here, and say why.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each part of `src/`, and the parts it may import. The library first, from the bottom up; then the binary, which sees
/// the library through its public interface only.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("io", &[]),
    ("fields", &["id"]),
    ("record", &["id"]),
    ("wal", &["id", "io"]),
    ("snapshot", &["id", "io"]),
    // It knows the commands, and nothing of how we do them.
    ("history", &["id"]),
    ("state", &["id", "fields", "record"]),
    ("op", &["id", "fields", "record", "state"]),
    ("error", &["id", "op", "wal"]),
    // Opening is a part of the engine that deserves a file of its own: the two know each other.
    ("recovery", &["id", "io", "record", "wal", "snapshot", "state", "error", "engine"]),
    ("engine", &["id", "io", "record", "wal", "snapshot", "state", "op", "error", "recovery"]),
    // What fuzz targets and the tests on their corpora call.
    ("fuzzing", &["id", "fields", "record", "state", "recovery"]),
    ("resp", &["id"]),
    ("config", &[]),
    ("command", &["config"]),
    ("server", &["config", "command"]),
    ("cli", &["config", "command", "server"]),
];

/// No file has more lines of code than this, its tests not counted.
const LINES_MAX: usize = 700;

/// Files that are longer, how long they may be, and why.
const LONGER: &[(&str, usize, &str)] = &[];

/// A source file, with comments and the contents of strings taken out, and its tests too.
struct Source {
    /// From the root of the repository.
    path: String,
    code: String,
}

impl Source {
    /// The part of `src/` that it belongs to.
    fn part(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The functions in which `pattern` occurs, in order, each once.
    fn functions_with(&self, pattern: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(pattern) {
            let before = &self.code[..at];
            let Some(begin) = before.rfind("fn ") else { continue };
            let name = identifier(&before[begin + 3..]);
            // Its definition is no use of it.
            if !name.is_empty() && !found.contains(&name.to_owned()) {
                found.push(name.to_owned());
            }
        }
        found
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|other| other == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/")
}

fn sources(folder: &str) -> Vec<Source> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Source { path: relative(&path), code: bare(without_tests(&text)) }
    };
    files(folder, "rs").into_iter().map(read).collect()
}

fn without_tests(text: &str) -> &str {
    let begins = ["#[cfg(test)]", "#[cfg(all(test, feature = \"sim\"))]"];
    let found = begins.iter().filter_map(|cfg| text.find(&format!("{cfg}\nmod tests {{")));
    &text[..found.min().unwrap_or(text.len())]
}

fn identifier(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Code without comments and without what is in strings and characters. Lines stay lines.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = raw_string(rest) {
            out.push_str("\"\"");
            raw
        } else if first == '"' {
            out.push_str("\"\"");
            string(rest, '"')
        } else if first == '\'' && is_character(rest) {
            string(rest, '\'')
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].matches('\n'));
        rest = &rest[skipped..];
    }
    out
}

/// The length of the raw string at the front, if there is one.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.split('"').next()?;
    if !hashes.bytes().all(|byte| byte == b'#') {
        return None;
    }
    let begin = 1 + hashes.len() + 1;
    let end = format!("\"{hashes}");
    Some(begin + text.get(begin..)?.find(&end)? + end.len())
}

/// The length of the string or character at the front.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether the quote at the front begins a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    let first = letters.next();
    first == Some('\\') || letters.next() == Some('\'')
}

#[test]
fn imports_go_down_only() {
    let allowed = |part: &str| MAY_IMPORT.iter().find(|(name, _)| *name == part).map(|(_, allowed)| *allowed);
    let mut wrong = Vec::new();
    for source in sources("src") {
        if ["src/lib.rs", "src/main.rs"].contains(&&*source.path) {
            continue;
        }
        let part = source.part();
        let Some(allowed) = allowed(part) else {
            wrong.push(format!("{}: where does this part stand? Say so in tests/tidy.rs", source.path));
            continue;
        };
        for (at, _) in source.code.match_indices("crate::") {
            let to = identifier(&source.code[at + "crate::".len()..]);
            if to != part && !allowed.contains(&to) {
                wrong.push(format!("{} imports crate::{to}", source.path));
            }
        }
        let binary = ["config", "command", "server", "cli"].contains(&part);
        if !binary && source.code.contains("claimlog::") {
            wrong.push(format!("{} imports the library by its name, which hides the direction", source.path));
        }
    }
    assert!(wrong.is_empty(), "see docs/architecture.md:\n{}", wrong.join("\n"));
    for (part, _) in MAY_IMPORT {
        let path = root().join("src").join(part);
        assert!(path.is_dir() || path.with_extension("rs").is_file(), "there is no src/{part} any more");
    }
}

#[test]
fn nothing_below_the_engine_waits_asynchronously() {
    let words = |code: &str, wanted: &str| {
        code.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == wanted)
    };
    for source in sources("src") {
        if source.part() != "server" {
            assert!(!words(&source.code, "tokio"), "{} names tokio: that is the server's", source.path);
            if source.path != "src/engine/mod.rs" {
                let waits = words(&source.code, "async") || words(&source.code, "await");
                assert!(
                    !waits,
                    "{} is asynchronous: that is for the server and the engine's front",
                    source.path
                );
            }
        }
    }
}

#[test]
fn the_door_has_one_caller() {
    let callers = |pattern: &str| -> Vec<(String, String)> {
        let of = |source: &Source| {
            let functions = source.functions_with(pattern);
            functions.into_iter().map(|name| (source.path.clone(), name)).collect::<Vec<_>>()
        };
        sources("src").iter().flat_map(of).collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(path, name)| ((*path).to_owned(), (*name).to_owned())).collect()
    };
    // I2. `preview` applies to a copy that nobody keeps.
    assert_eq!(callers(".apply("), expect(&[("src/recovery.rs", "absorb"), ("src/state/mod.rs", "preview")]));
    // Live commits and replay, and fuzzing, of which no server has anything. A debug build and a release build have a line each in `commit`.
    assert_eq!(
        callers(" absorb("),
        expect(&[
            ("src/engine/core.rs", "commit"),
            ("src/fuzzing.rs", "state"),
            ("src/fuzzing.rs", "records"),
            ("src/recovery.rs", "batch")
        ])
    );
    // Who is handed a state to change.
    assert_eq!(
        callers("&mut State"),
        expect(&[("src/recovery.rs", "absorb"), ("src/recovery.rs", "absorb_run")])
    );
    // Replay applies runs of entries in one go.
    assert_eq!(callers(".apply_run("), expect(&[("src/recovery.rs", "absorb_run")]));
    assert_eq!(callers(" absorb_run("), expect(&[("src/recovery.rs", "batches")]));
}

#[test]
fn only_one_file_knows_sled() {
    for source in sources("src") {
        let may = source.path == "src/snapshot/sled_session.rs";
        assert!(may || !source.code.contains("sled::"), "{} names sled", source.path);
    }
}

#[test]
fn files_stay_short() {
    for path in files("src", "rs") {
        let lines = without_tests(&fs::read_to_string(&path).unwrap()).lines().count();
        let path = relative(&path);
        let longer = LONGER.iter().find(|(name, _, _)| *name == path);
        let most = longer.map_or(LINES_MAX, |(_, most, _)| *most);
        assert!(
            lines <= most,
            "{path} has {lines} lines, {most} are allowed: look for the second noun in it"
        );
        assert!(longer.is_none() || lines > LINES_MAX, "{path} has become short: take it off the list");
    }
}

#[test]
fn every_exception_to_a_lint_has_its_reason() {
    for folder in ["src", "tests", "examples", "benches", "fuzz/fuzz_targets"] {
        for path in files(folder, "rs") {
            let code = bare(&fs::read_to_string(&path).unwrap());
            for kind in ["[allow(", "[expect("] {
                for (at, _) in code.match_indices(kind) {
                    let attribute = code[at..].split(")]").next().unwrap_or_default();
                    assert!(attribute.contains("reason ="), "{}: {attribute})]", relative(&path));
                }
            }
        }
    }
}

/// `src/file.rs::name` in a document: the file must be there, and it must define the name.
#[test]
fn documents_point_at_what_is_there() {
    let mut documents = files("docs", "md");
    documents.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let mut wrong = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let mut check = |pointer: &str| {
            let (path, name) = pointer.split_once("::").unwrap_or((pointer, ""));
            let there = if name.is_empty() {
                root().join(path).exists()
            } else {
                fs::read_to_string(root().join(path)).is_ok_and(|code| defines(&code, name))
            };
            if !there {
                wrong.push(format!("{}: {pointer}", relative(&document)));
            }
        };
        // Code in single backquotes; blocks of code have an even number of quotes too, and no such paths.
        for quoted in text.split('`').skip(1).step_by(2) {
            let known = ["src/", "tests/", "examples/", "benches/", "docs/", "fuzz/"]
                .iter()
                .any(|root| quoted.starts_with(root));
            if known && !quoted.contains([' ', '<', '*', '\n']) {
                check(quoted);
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                let base = relative(document.parent().unwrap());
                check(Path::new(&base).join(path).to_str().unwrap());
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

/// The table of faults in `docs/testing.md` names tests that are there, in each row, and all tests of `tests/faults`.
#[test]
fn every_fault_has_its_test() {
    let text = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let section = text.split("## Every fault, its outcome, its test").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    let is_test = |pointer: &str| {
        let (path, name) = pointer.split_once("::").unwrap_or((pointer, "-"));
        fs::read_to_string(root().join(path)).is_ok_and(|code| tests_in(&code).contains(&name.to_owned()))
    };
    let mut named = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let tests: Vec<&str> = cells.last().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(cells.len() == 3 && !tests.is_empty(), "no test in the row: {row}");
        for test in tests {
            assert!(is_test(test), "{test} is not a test; in the row: {row}");
            named.push(test.to_owned());
        }
    }
    for path in files("tests/faults", "rs") {
        for name in tests_in(&fs::read_to_string(&path).unwrap()) {
            let pointer = format!("{}::{name}", relative(&path));
            assert!(named.contains(&pointer), "{pointer} is not in the table of docs/testing.md");
        }
    }
}

/// The names of the tests in a file.
fn tests_in(code: &str) -> Vec<String> {
    let after = code.split("#[test]\n").skip(1);
    after.filter_map(|rest| Some(identifier(rest.split("fn ").nth(1)?).to_owned())).collect()
}

fn defines(code: &str, name: &str) -> bool {
    // Of `Type::function` the last word.
    let name = name.rsplit("::").next().unwrap_or(name);
    ["fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ", "mod "].iter().any(|kind| {
        code.match_indices(&format!("{kind}{name}")).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        })
    })
}

#[test]
fn the_lexer_of_these_tests_sees_code_only() {
    let text = "a // x\nb /* y */ 'z' \"w \\\" v\" r#\"u\"# &'t c '\\'' d";
    assert_eq!(bare(text), "a \nb   \"\" \"\" &'t c  d");
}
