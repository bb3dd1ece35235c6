//! Where an installed program finds those that it starts. Names such as `select` and `poll` have no place on anybody's
//! PATH, so a package keeps them apart: `bin/tenk` and `lib/tenk/select`.

use crate::base::error::Failure;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The variable that names the folder of the programs, wherever it is.
pub const VARIABLE: &str = "TENK_LIB";

/// From the folder that this program is in to the one with the programs of its package.
const LIBRARY: &str = "../lib/tenk";

/// The folder of the programs of an installed tenk: what the variable names, else its package's; none: this program was
/// not installed by a package. Beside this program nothing is looked for then: `/usr/bin/poll` may be anybody's.
pub fn folder() -> Result<Option<PathBuf>, Failure> {
    let own = std::env::current_exe().unwrap_or_default();
    find(std::env::var_os(VARIABLE), &own)
}

fn find(named: Option<OsString>, own: &Path) -> Result<Option<PathBuf>, Failure> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return match fs::metadata(&named) {
            Ok(found) if found.is_dir() => Ok(Some(named)),
            Ok(_) => Err(unusable(&named, "that is no folder")),
            Err(why) => Err(unusable(&named, &why.to_string())),
        };
    }
    let library = own.parent().unwrap_or(Path::new("/")).join(LIBRARY);
    // Without the step back, as a person would write it.
    Ok(fs::canonicalize(library)
        .ok()
        .filter(|place| place.is_dir()))
}

fn unusable(named: &Path, why: &str) -> Failure {
    let named = named.display();
    Failure::preflight(format!(
        "{VARIABLE} names {named}: {why}; it is the folder with the servers and the load generator, such as \
         /usr/lib/tenk (`unset {VARIABLE}` looks for them where this tenk is installed)"
    ))
}

/// Every program in a folder, by name.
pub fn programs(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let files = fs::read_dir(folder)?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path()))
    });
    Ok(files.collect())
}

/// What is said where a package's folder lacks a program: it was not installed whole.
pub fn incomplete(folder: &Path, absent: &str) -> Failure {
    Failure::preflight(format!(
        "this tenk cannot measure: {absent} is not in {}, where its programs are; install the package again, or let \
         {VARIABLE} name a folder that has them all",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_package_and_nothing_is_found_beside_a_stray_program() {
        let place = tempfile::tempdir().unwrap();
        let (bin, lib) = (place.path().join("bin"), place.path().join("lib/tenk"));
        fs::create_dir_all(&bin).unwrap();
        let own = bin.join("tenk");
        assert_eq!(find(None, &own).unwrap(), None);
        fs::create_dir_all(&lib).unwrap();
        let lib = fs::canonicalize(lib).unwrap();
        assert_eq!(find(None, &own).unwrap(), Some(lib.clone()));
        assert_eq!(find(Some("".into()), &own).unwrap(), Some(lib));
        let named = find(Some(bin.clone().into()), &own).unwrap();
        assert_eq!(named, Some(bin));
    }

    #[test]
    fn a_variable_that_names_no_folder_is_said_with_what_mends_it() {
        let own = Path::new("/usr/bin/tenk");
        for (named, why) in [("/no/such", "No such file"), ("/dev/null", "no folder")] {
            let failure = find(Some(named.into()), own).unwrap_err();
            assert_eq!(failure.exit.code(), 3);
            assert!(failure.message.contains(why), "{failure}");
            assert!(failure.message.contains("unset TENK_LIB"), "{failure}");
        }
    }
}
