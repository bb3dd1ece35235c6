//! A panic is said in one sentence, wherever it comes from: what was given up, at which place, and where the trials are
//! that were over. The program then ends as one that failed, with its children ended and its temporary files removed.

use super::terminal::eprintln;
use super::text::visible;
use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The file in which the run that goes on saves its trials.
static TRIALS: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Remembers in which file the run that goes on saves its trials; none: in none any longer.
pub fn trials_are_in(file: Option<PathBuf>) {
    if let Ok(mut trials) = TRIALS.lock() {
        *trials = file;
    }
}

/// Does the whole work of the program; none: it panicked, which was said.
pub fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    let usual = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        // Who asks for a backtrace gets the usual words as well.
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
        eprintln(&said(info));
    }));
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn said(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(|at| (at.file(), at.line()));
    // The panic may be that of whoever holds it.
    let trials = TRIALS.try_lock().ok().and_then(|trials| trials.clone());
    let has_trials = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|file| file.len() > 0);
    let trials = trials.filter(has_trials);
    sentence(words(info.payload()), place, trials.as_deref())
}

/// What was said as the panic began.
fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or(payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word")
}

fn sentence(words: &str, place: Option<(&str, u32)>, trials: Option<&Path>) -> String {
    let place = place.map_or("an unknown place".into(), |(file, line)| {
        format!("{}:{line}", short(file))
    });
    let saved = trials.and_then(Path::parent).map_or(String::new(), |run| {
        format!(
            "; the trials that were over are saved, and `tenk report {}` shows them",
            run.display()
        )
    });
    let sentence = format!(
        "error: tenk gave up: {words} ({place}), a fault of tenk or of a library in it, which RUST_BACKTRACE=1 shows \
         more of{saved}"
    );
    visible(&sentence)
}

/// A source file without the path of whoever built the program.
fn short(file: &str) -> &str {
    let of_library = file.split_once("/registry/src/");
    let of_library = of_library.and_then(|(_, rest)| Some(rest.split_once('/')?.1));
    let of_language = || {
        let (_, rest) = file.split_once("/rustc/")?;
        Some(rest.split_once('/')?.1)
    };
    of_library.or_else(of_language).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_sentence_with_its_place_and_what_was_saved() {
        let file = "/home/a/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/tokio-1.54.1/src/runtime/io/driver.rs";
        let trials = Path::new("results/run-1/trials.jsonl");
        let text = sentence(
            "failed to wake\nI/O driver",
            Some((file, 279)),
            Some(trials),
        );
        assert!(
            text.starts_with("error: tenk gave up: failed to wake"),
            "{text}"
        );
        assert!(
            text.contains(
                "(tokio-1.54.1/src/runtime/io/driver.rs:279), a fault of tenk or of a library"
            ),
            "{text}"
        );
        assert!(
            text.ends_with("`tenk report results/run-1` shows them"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
        let own = sentence("no", Some(("harness/src/judge/mod.rs", 7)), None);
        assert!(own.contains("(harness/src/judge/mod.rs:7)"), "{own}");
        assert!(!own.contains("saved"), "{own}");
        assert_eq!(
            short("/rustc/59807616e1fa/library/core/src/option.rs"),
            "library/core/src/option.rs"
        );
    }

    #[test]
    fn whatever_a_panic_carries_has_words() {
        assert_eq!(words(&"text"), "text");
        assert_eq!(words(&String::from("owned")), "owned");
        assert_eq!(words(&7_u8), "without a word");
    }
}
