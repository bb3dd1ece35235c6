//! What this program is: its version, the commit it was built from, and how.

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version with its commit, in one line: `0.1.0 (0d543d8f7c6a, 2026-11-27)`.
pub const SHORT: &str = env!("HARNESS_VERSION");

/// The same with compiler, target and profile.
pub fn long() -> &'static str {
    concat!(env!("HARNESS_VERSION"), "\n", env!("HARNESS_BUILD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_begins_with_the_packages_and_says_of_what_and_how_it_was_built() {
        assert!(SHORT.starts_with(VERSION), "{SHORT}");
        assert!(SHORT.ends_with(')') && !SHORT.contains('\n'), "{SHORT}");
        let build = long().lines().nth(1).unwrap();
        let words = ["rustc 1.", "linux", "build"];
        assert!(words.iter().all(|word| build.contains(word)), "{build}");
    }
}
