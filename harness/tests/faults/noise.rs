//! A calibration under which whatever else runs is ordinary: trials that were disturbed would be made again.

use std::fs;
use std::path::Path;

/// Keeps it in this folder of caches.
pub fn expect_noise(caches: &Path) {
    let name = loadgen::base::cache::cache_file("noise");
    // Without a home there is no name for it; then disturbed trials are made again.
    let Some(name) = name.and_then(|path| Some(path.file_name()?.to_owned())) else {
        return;
    };
    let noise = serde_json::json!({
        "schema": "tenk.noise/1", "measured": "2020-01-01T00:00:00Z", "cell": "none", "blocks": 8, "metrics": {},
        "limits": { "steal": 1.0, "foreign_cpus": 1e6 },
    });
    let folder = caches.join("tenk");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), noise.to_string()).expect("a file");
}
