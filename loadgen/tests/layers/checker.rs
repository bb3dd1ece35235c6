//! Reads which modules of a crate import which, and compares that with its layers. Shared by all crates of the
//! workspace (`#[path = …] mod checker;`), each of which holds its own list.
//!
//! Paths are read as they are written: `crate::…`, `super::…` and `self::…`, in `use` and elsewhere, comments and
//! strings left out. What a parent and its children import from each other is one module's own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Module = Vec<String>;

/// Which modules each module imports.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Everything in `source` that its layers forbid, in words; the topmost layer stands first.
pub fn faults(source: &Path, layers: &[&str]) -> Vec<String> {
    let graph = read(source);
    let top: BTreeSet<&str> = graph
        .keys()
        .filter_map(|m| m.first())
        .map(String::as_str)
        .collect();
    let unlisted = top
        .iter()
        .filter(|name| !layers.contains(name))
        .map(|name| format!("{name} stands in no layer"));
    let absent = layers
        .iter()
        .filter(|name| !top.contains(*name))
        .map(|name| format!("there is no module {name}"));
    let place = |module: &Module| {
        layers
            .iter()
            .position(|name| module.first().is_some_and(|m| m == name))
    };
    let arrows = graph
        .iter()
        .flat_map(|(from, targets)| targets.iter().map(move |to| (from, to)));
    let upward = arrows
        .filter(
            |(from, to)| matches!((place(from), place(to)), (Some(from), Some(to)) if to > from),
        )
        .map(|(from, to)| format!("{} imports {}, which stands below it", name(from), name(to)));
    unlisted
        .chain(absent)
        .chain(upward)
        .chain(cycles(&graph))
        .collect()
}

fn name(module: &Module) -> String {
    module.join("::")
}

fn read(source: &Path) -> Graph {
    let mut texts = BTreeMap::new();
    gather(source, &Module::new(), &mut texts);
    let known: BTreeSet<Module> = texts.keys().cloned().collect();
    let imports = |(module, text): (&Module, &String)| {
        let targets = paths(&tokens(text), module);
        let targets = targets.iter().filter_map(|path| deepest(path, &known));
        let targets = targets.filter(|to| !to.starts_with(module) && !module.starts_with(to));
        (module.clone(), targets.collect())
    };
    texts.iter().map(imports).collect()
}

/// The text of every module below a directory; roots of crates are none.
fn gather(directory: &Path, parent: &Module, texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("an entry").path();
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let child = || [parent.as_slice(), std::slice::from_ref(&stem)].concat();
        if path.is_dir() {
            // Every file in src/bin is a crate of its own.
            if !(parent.is_empty() && stem == "bin") {
                gather(&path, &child(), texts);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = match stem.as_str() {
                "lib" | "main" if parent.is_empty() => continue,
                "mod" => parent.clone(),
                _ => child(),
            };
            texts.insert(module, fs::read_to_string(&path).expect("a readable file"));
        }
    }
}

/// The module that a path leads into.
fn deepest(path: &[String], known: &BTreeSet<Module>) -> Option<Module> {
    let lengths = (1..=path.len()).rev();
    lengths
        .map(|length| path[..length].to_vec())
        .find(|module| known.contains(module))
}

/// Words and punctuation, without comments, strings, and characters between quotes.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).or_else(|| quoted(rest)) {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of `r"…"` or `r#"…"#` at the beginning.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r').or_else(|| text.strip_prefix("br"))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - body.len() + body.find(&end)? + end.len())
}

/// The length of a string or a character at the beginning; a lifetime is none.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return Some(at + 1),
            // A character is one letter: what goes on is a lifetime.
            _ if quote == '\''
                && !text[at + letter.len_utf8()..].starts_with('\'')
                && !text[1..].starts_with('\\') =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The absolute paths that a module writes down.
fn paths(tokens: &[String], module: &Module) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    // Inline modules, with the depth of braces at which each ends.
    let (mut inline, mut depth, mut at): (Vec<(String, usize)>, _, _) = (Vec::new(), 0, 0);
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    while at < tokens.len() {
        match token(at) {
            "mod" if token(at + 2) == "{" => inline.push((token(at + 1).to_owned(), depth)),
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inline.last().is_some_and(|(_, start)| *start == depth) {
                    inline.pop();
                }
            }
            root @ ("crate" | "super" | "self")
                if token(at + 1) == "::" && (at == 0 || token(at - 1) != "::") =>
            {
                let here = module.iter().chain(inline.iter().map(|(name, _)| name));
                let mut base: Vec<String> = if root == "crate" {
                    Vec::new()
                } else {
                    here.cloned().collect()
                };
                while token(at) == "super" {
                    base.pop();
                    at += 2;
                }
                at = match root {
                    "super" => at,
                    _ => at + 2,
                };
                tree(tokens, &mut at, &base, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one branch of a `use` tree, or a path in an expression, and leaves `at` behind it.
fn tree(tokens: &[String], at: &mut usize, base: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = base.to_vec();
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    tree(tokens, at, &path, found);
                    while tokens
                        .get(*at)
                        .is_some_and(|token| token != "," && token != "}")
                    {
                        *at += 1;
                    }
                    *at += usize::from(tokens.get(*at).is_some_and(|token| token == ","));
                }
                *at += 1;
                return;
            }
            Some(word) if word.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                path.push(word.to_owned());
                *at += 1;
            }
            _ => break,
        }
        if tokens.get(*at).is_none_or(|token| token != "::") {
            break;
        }
        *at += 1;
    }
    found.push(path);
}

/// Modules that import each other, directly or through others; each circle once, by its first member.
fn cycles(graph: &Graph) -> Vec<String> {
    let reach = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            for to in graph.get(&module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        graph.keys().map(|from| (from, reach(from))).collect();
    let circle = |module: &Module| {
        let others = reached[module]
            .iter()
            .filter(|to| reached.get(to).is_some_and(|back| back.contains(module)));
        others.cloned().collect::<BTreeSet<Module>>()
    };
    let circles: BTreeSet<BTreeSet<Module>> = graph
        .keys()
        .map(circle)
        .filter(|circle| !circle.is_empty())
        .collect();
    let words = |circle: &BTreeSet<Module>| circle.iter().map(name).collect::<Vec<_>>().join(", ");
    circles
        .iter()
        .map(|circle| format!("these import each other: {}", words(circle)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        for (file, text) in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        faults(directory.path(), &["low", "high"])
    }

    #[test]
    fn an_arrow_the_wrong_way_is_found_wherever_it_is_written() {
        let wrong = ["low imports high, which stands below it"];
        for text in [
            "use crate::high::Thing;",
            "use crate::{high, low};",
            "use super::high::Thing;",
            "fn f() { g(crate::high::THING) }",
            "mod tests { use super::super::high::Thing; }",
            "fn f<'a>(x: &'a str) { '\"'; crate::high::f() }",
        ] {
            assert_eq!(found(&[("low.rs", text), ("high.rs", "")]), wrong, "{text}");
        }
        let right = "use crate::low::Thing; // crate::low\nconst A: &str = \"crate::high\";";
        assert!(
            found(&[
                (
                    "low.rs",
                    "/// crate::high\nconst B: &str = r#\"\"crate::high\"\"#;"
                ),
                ("high.rs", right)
            ])
            .is_empty()
        );
    }

    #[test]
    fn circles_and_modules_without_a_layer_are_found() {
        let circle = found(&[
            ("low/mod.rs", "mod a; mod b;"),
            ("low/a.rs", "use super::b::B;"),
            ("low/b.rs", "use crate::low::a::A;"),
            ("high.rs", ""),
        ]);
        assert_eq!(circle, ["these import each other: low::a, low::b"]);
        let strange = found(&[("low.rs", ""), ("other.rs", "")]);
        assert_eq!(
            strange,
            ["other stands in no layer", "there is no module high"]
        );
    }
}
